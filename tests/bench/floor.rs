//! The floor: bare pipelined commands of the same shape, and nothing else. Bodies in a hash, ids in a list, as ours lie;
//! but no lease, no fence, no duplicate is noticed, no delay, no band, and a death loses what was taken. Nobody who keeps
//! a job's body apart from its place can do with less.

use futures::future::join_all;
use orderfleet::ids::JobId;
use redis::aio::MultiplexedConnection;

/// Pushes `jobs` in batches, so many of them in flight.
pub(crate) async fn push(
    connection: &MultiplexedConnection,
    jobs: usize,
    body: &[u8],
    batch: usize,
    in_flight: usize,
) {
    let share = jobs / in_flight;
    join_all((0..in_flight).map(|_| async {
        let mut left = share;
        while left > 0 {
            let (mut bodies, mut places) = (redis::cmd("HSET"), redis::cmd("RPUSH"));
            bodies.arg("floor:j");
            places.arg("floor:w");
            for _ in 0..batch.min(left) {
                let id = JobId::new().uuid();
                bodies.arg(id.as_bytes()).arg(body);
                places.arg(id.as_bytes());
            }
            let mut both = redis::pipe();
            both.add_command(bodies).ignore().add_command(places).ignore();
            both.query_async::<()>(&mut connection.clone()).await.unwrap();
            left -= batch.min(left);
        }
    }))
    .await;
}

/// Takes them all and forgets them, in batches by so many hands.
pub(crate) async fn work(connection: &MultiplexedConnection, batch: usize, hands: usize) {
    join_all((0..hands).map(|_| async {
        loop {
            let mut connection = connection.clone();
            let mut pop = redis::cmd("LPOP");
            let ids: Option<Vec<Vec<u8>>> =
                pop.arg("floor:w").arg(batch).query_async(&mut connection).await.unwrap();
            let Some(ids) = ids else { break };
            let mut get = redis::cmd("HMGET");
            let bodies: Vec<Vec<u8>> =
                get.arg("floor:j").arg(&ids).query_async(&mut connection).await.unwrap();
            assert_eq!(bodies.len(), ids.len(), "a body for each");
            let mut delete = redis::cmd("HDEL");
            delete.arg("floor:j").arg(&ids).query_async::<()>(&mut connection).await.unwrap();
        }
    }))
    .await;
}
