//! A phase of an attempt over a slice, and how a slice that the database refuses is bisected.
//!
//! The fast way costs nothing extra: the slice as one. Only where the data of some job is refused is the slice run again
//! with savepoints, halved until the bad job stands alone, left to right, so that the jobs behind it are decided again
//! without what it had taken. Deadlocks, time-outs and lost connections never bisect: they retry the slice.

use futures::future::BoxFuture;

use crate::job::{Class, Dependency, Failure, Step, Verdict};
use crate::jobs::{Called, Job, Loaded, Rules};
use crate::store::Tx;

/// A function over a slice of jobs in a transaction.
pub(super) trait Phase: Send + Sync {
    /// What it is given for each job.
    type In: Send + Sync;
    /// What it answers for each job.
    type Out: Send;

    /// Runs it.
    fn run(
        slice: &[Self::In],
        tx: &mut Tx,
        rules: &Rules,
    ) -> impl Future<Output = Result<Vec<Self::Out>, Failure>> + Send;

    /// The answer for a job that failed alone.
    fn refused(failure: Failure) -> Self::Out;
}

/// `Job::load`.
pub(super) struct Load<J>(std::marker::PhantomData<J>);

impl<J: Job> Phase for Load<J> {
    type In = Loaded<J>;
    type Out = Step<J::Plan>;

    async fn run(slice: &[Loaded<J>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Step<J::Plan>>, Failure> {
        J::load(slice, tx, rules).await
    }

    fn refused(failure: Failure) -> Step<J::Plan> {
        Step::Refused(failure)
    }
}

/// `Job::settle`.
pub(super) struct Settle<J>(std::marker::PhantomData<J>);

impl<J: Job> Phase for Settle<J> {
    type In = Called<J>;
    type Out = Verdict;

    async fn run(slice: &[Called<J>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        J::settle(slice, tx, rules).await
    }

    fn refused(failure: Failure) -> Verdict {
        Verdict::Refused(failure)
    }
}

/// Whether Postgres is away or asked to try again: nobody's data is at fault.
pub(super) const fn is_postgres(failure: &Failure) -> bool {
    matches!(failure.class, Class::Unavailable(Dependency::Postgres))
}

/// Runs a phase over a slice: as one, or `careful`ly.
pub(super) async fn run<P: Phase>(
    slice: &[P::In],
    tx: &mut Tx,
    rules: &Rules,
    careful: bool,
) -> Result<Vec<P::Out>, Failure> {
    if slice.is_empty() {
        return Ok(Vec::new());
    }
    let answers =
        if careful { bisect::<P>(slice, tx, rules).await? } else { P::run(slice, tx, rules).await? };
    if answers.len() == slice.len() {
        return Ok(answers);
    }
    let detail = format!("{} answers for {} jobs", answers.len(), slice.len());
    Err(Failure::new(Class::Data, "answers_missing", detail))
}

fn bisect<'a, P: Phase>(
    slice: &'a [P::In],
    tx: &'a mut Tx,
    rules: &'a Rules,
) -> BoxFuture<'a, Result<Vec<P::Out>, Failure>> {
    Box::pin(async move {
        let mark = tx.savepoint().await?;
        match P::run(slice, tx, rules).await {
            Ok(answers) => {
                tx.release().await?;
                Ok(answers)
            }
            Err(failure) if is_postgres(&failure) => Err(failure),
            Err(failure) => {
                tx.give_up(mark).await?;
                if slice.len() == 1 {
                    return Ok(vec![P::refused(failure)]);
                }
                let (left, right) = slice.split_at(slice.len() / 2);
                let mut answers = bisect::<P>(left, tx, rules).await?;
                answers.extend(bisect::<P>(right, tx, rules).await?);
                Ok(answers)
            }
        }
    })
}
