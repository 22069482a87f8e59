//! The settings: one struct for each part, handed to it by `main`. Nothing else reads a file or the environment.
//!
//! Every default stands in `config/default.toml`, once, with its reason; no struct here has a `Default`. Secrets are
//! wrapped, so that printing a setting can't show one. [`load`](load::load) names every fault of a configuration at once.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

mod environment;
pub mod faults;
pub mod load;
mod mail;
pub mod needs;
mod network;
mod orders;
mod payments;
mod rules;
mod shipping;
pub mod shown;

pub use environment::operator;
pub use faults::ConfigError;
pub use load::{Sources, load, load_for};
pub use mail::{AlertSettings, MailProviderSettings, MailReadingSettings, ShopSettings, SmtpSettings};
pub use needs::Need;
pub use network::{Network, site, visitor};
pub use orders::{Declined, LatePayment, Mismatch, OrderSettings, RetentionSettings};
pub use payments::{
    Algorithm, ConfirmBy, Encoding, Message, PageSettings, PaymentProviderSettings, Place, ReadingSettings,
    SignatureSettings, StatusSettings, Unit,
};
pub use shipping::{AddressSettings, Choose, ShippingSettings, Verify};

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Where the truth is.
    pub postgres: PostgresSettings,
    /// Where the queue is.
    pub redis: RedisSettings,
    /// How the queue leases and polls.
    pub queue: QueueSettings,
    /// How much each lane does at once, by the lane's name.
    pub lanes: BTreeMap<String, LaneSettings>,
    /// What the whole fleet may ask of each provider, by the provider's name.
    pub calls: BTreeMap<String, CallSettings>,
    /// The HTTP side.
    pub intake: IntakeSettings,
    /// The operators' side.
    pub ops: OpsSettings,
    /// One process of the fleet.
    pub worker: WorkerSettings,
    /// What an order may take.
    pub orders: OrderSettings,
    /// How long personal data is kept.
    pub retention: RetentionSettings,
    /// The payment provider.
    pub stripe: StripeSettings,
    /// The payment providers that are known by their settings alone, by their names.
    pub payment_providers: BTreeMap<String, PaymentProviderSettings>,
    /// The mail services that tell what became of mails, by their names.
    pub mail_providers: BTreeMap<String, MailProviderSettings>,
    /// The carriers' broker.
    pub easypost: EasyPostSettings,
    /// Where parcels leave from.
    pub ship_from: AddressSettings,
    /// How they are sent.
    pub shipping: ShippingSettings,
    /// The mail server.
    pub smtp: SmtpSettings,
    /// What mails say of the shop.
    pub shop: ShopSettings,
    /// Who is on call, and what they are written to about.
    pub alerts: AlertSettings,
    /// The secret that ids and encryption keys are derived from.
    pub security: SecuritySettings,
    /// What customers' own tokens are verified with.
    pub customer_tokens: CustomerTokenSettings,
    /// Where traces go.
    pub telemetry: TelemetrySettings,
    /// The stand-ins for the outside world.
    pub sandbox: SandboxSettings,
}

/// Postgres.
#[derive(Clone, Debug, Deserialize)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database`; a folder as `host` is a socket.
    pub url: SecretString,
    /// The schema that the tables are in.
    pub schema: String,
    /// Connections that one process holds, at most.
    pub max_connections: u32,
    /// How long to wait for one of them.
    pub acquire_timeout_ms: u64,
    /// The longest transaction, from asking for its connection to its commit's answer.
    pub transaction_timeout_ms: u64,
    /// The longest statement.
    pub statement_timeout_ms: u64,
    /// The longest wait for a lock.
    pub lock_timeout_ms: u64,
    /// How long a transaction may stand still: a stopped worker must not hold a hot row.
    pub idle_in_transaction_timeout_ms: u64,
}

/// Redis.
#[derive(Clone, Debug, Deserialize)]
pub struct RedisSettings {
    /// `redis://:password@host:port`; `redis+unix:///path` for a socket; of a cluster or of Sentinels several hosts with
    /// commas between.
    pub url: SecretString,
    /// What is there.
    pub mode: RedisMode,
    /// The name under which the Sentinels watch the master.
    pub sentinel_master: String,
    /// The Sentinels' own password, where they ask for one; the URL's login is that of the servers.
    pub sentinel_password: SecretString,
    /// Every key begins with it, so that two fleets can share a server.
    pub prefix: String,
    /// How long to wait for a connection.
    pub connect_timeout_ms: u64,
    /// How long to wait for an answer.
    pub response_timeout_ms: u64,
    /// Refuse to start on a Redis that may lose or evict what it acknowledged.
    pub require_durable: bool,
    /// Replicas that must have a push before it is acknowledged.
    pub wait_replicas: u32,
    /// How long to wait for them.
    pub wait_ms: u64,
}

/// What `redis.url` leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum RedisMode {
    /// One server, always at the same place.
    Single,
    /// A Redis Cluster: the hosts are some of its nodes.
    Cluster,
    /// A master and its replicas: the hosts are the Sentinels that watch them.
    Sentinel,
}

impl TryFrom<String> for RedisMode {
    type Error = &'static str;

    /// Derived, the error would quote what was given, which may have been meant for another setting.
    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "single" => Ok(Self::Single),
            "cluster" => Ok(Self::Cluster),
            "sentinel" => Ok(Self::Sentinel),
            _ => Err("must be single, cluster or sentinel"),
        }
    }
}

/// Leases and polling.
#[derive(Clone, Debug, Deserialize)]
pub struct QueueSettings {
    /// How long a delivery belongs to its worker without a sign of life.
    pub lease_ms: u64,
    /// How often a worker gives that sign.
    pub renew_ms: u64,
    /// How long a blocking read waits before it looks by itself.
    pub block_ms: u64,
    /// Jobs moved by one script call, at most.
    pub batch: usize,
    /// Deaths of a worker with this job alone in its hands, until it is quarantined.
    pub deaths: u32,
    /// How long an idempotency key and a projection stay in Redis.
    pub idempotency_ttl_seconds: u64,
}

/// Partitions of a lane, at most: each costs every worker of the lane a look every few seconds, and in a cluster a connection.
pub const MOST_PARTITIONS: usize = 16;

/// One lane.
#[derive(Clone, Debug, Deserialize)]
pub struct LaneSettings {
    /// Parts that it is split into.
    pub partitions: usize,
    /// Slices that one worker works on at once.
    pub concurrency: usize,
    /// Jobs in one slice, at most.
    pub slice: usize,
    /// Jobs in hand at once in the whole fleet; 0 is no limit.
    pub fleet_concurrency: u32,
    /// Jobs handed over in a second in the whole fleet; 0 is no limit.
    pub fleet_rate: u32,
    /// Waiting jobs above which the intake refuses new ones (lanes that it feeds).
    pub max_depth: u64,
}

/// What the whole fleet may ask of a provider; 0 is no limit.
#[derive(Clone, Debug, Deserialize)]
pub struct CallSettings {
    /// Calls begun in a second.
    pub a_second: u32,
    /// Calls at once.
    pub at_once: u32,
}

/// The HTTP side.
#[derive(Clone, Debug, Deserialize)]
pub struct IntakeSettings {
    /// Where the public routes are served.
    pub address: SocketAddr,
    /// The port of `/healthz`, `/readyz` and `/metrics`.
    pub health_port: u16,
    /// The address that they are served on.
    pub health_host: IpAddr,
    /// The largest body of an order intent.
    pub max_body_bytes: usize,
    /// The largest body of a webhook.
    pub max_webhook_bytes: usize,
    /// The longest `Prefer: wait`.
    pub max_wait_seconds: u64,
    /// How old the snapshots of keys, SKUs and currencies may be.
    pub snapshot_ms: u64,
    /// The longest a new intent may expect to wait; above it the answer is 503.
    pub max_queue_wait_seconds: u64,
    /// Whether wishes for what is sold out are refused at the door.
    pub sold_out_gate: bool,
    /// Tries to buy that one customer has: so many at once, and so many a minute; 0 is no limit.
    pub customer_attempts: u32,
    /// The same for one client address, where it is known.
    pub address_attempts: u32,
    /// Proxies whose word on where a visitor comes from is believed.
    pub trusted_proxies: Vec<Network>,
}

/// The operators' side: the fleet's state as JSON, and what may be done about it.
#[derive(Clone, Debug, Deserialize)]
pub struct OpsSettings {
    /// Where it is served.
    pub address: SocketAddr,
    /// Whether a proxy in front of it speaks TLS with the operators. An address that others can reach is refused without.
    pub tls_in_front: bool,
    /// Whose staff operates the fleet: lanes, workers and dead letters are those of all shops.
    pub tenant: String,
    /// Proxies whose word on where an operator comes from is believed.
    pub trusted_proxies: Vec<Network>,
    /// The port of `/healthz`, `/readyz` and `/metrics`.
    pub health_port: u16,
    /// The address that they are served on.
    pub health_host: IpAddr,
}

/// One process of the fleet.
#[derive(Clone, Debug, Deserialize)]
pub struct WorkerSettings {
    /// The lanes that it works; empty is all.
    pub lanes: Vec<String>,
    /// The port of `/healthz`, `/readyz` and `/metrics`.
    pub health_port: u16,
    /// The address that they are served on.
    pub health_host: IpAddr,
    /// How soon a backlog should be worked off, for the number of workers that is wanted.
    pub target_wait_seconds: u64,
    /// How long it may finish what it runs after SIGTERM.
    pub grace_ms: u64,
    /// How often unmarked job rows are looked for.
    pub relay_ms: u64,
    /// How often relayed rows are compared with what the queue knows.
    pub reaper_ms: u64,
    /// From which hour of the day, by UTC, the night is audited; 24 is never.
    pub audit_hour: u8,
}

/// Stripe.
#[derive(Clone, Debug, Deserialize)]
pub struct StripeSettings {
    /// `sk_…`.
    pub secret_key: SecretString,
    /// `whsec_…`; several while one is rotated.
    pub webhook_secrets: Vec<SecretString>,
    /// Where the API is.
    pub api_base: String,
    /// The longest call.
    pub timeout_ms: u64,
    /// How far a signature's time may be from ours, both ways.
    pub tolerance_seconds: i64,
}

/// EasyPost.
#[derive(Clone, Debug, Deserialize)]
pub struct EasyPostSettings {
    /// The API key.
    pub api_key: SecretString,
    /// The webhook secrets; several while one is rotated.
    pub webhook_secrets: Vec<SecretString>,
    /// Let `X-Hmac-Signature-V2` prove a webhook, too.
    pub webhook_v2: bool,
    /// Where the API is, `/v2` included.
    pub api_base: String,
    /// The longest call.
    pub timeout_ms: u64,
}

/// The secret of this installation.
#[derive(Clone, Debug, Deserialize)]
pub struct SecuritySettings {
    /// At least 32 characters. Intent ids and the key that encrypts client secrets are derived from it.
    pub secret: SecretString,
}

/// What customers' own tokens are verified with.
#[derive(Clone, Debug, Deserialize)]
pub struct CustomerTokenSettings {
    /// Shared with the shop's log-in; several while one is rotated.
    pub hs256_secrets: Vec<SecretString>,
    /// Of the shop's log-in, as PEM; several while one is rotated.
    pub rs256_public_keys: Vec<String>,
    /// The `iss` that a token must have; empty asks for none.
    pub issuer: String,
    /// The `aud` that a token must name; empty asks for none.
    pub audience: String,
    /// The only tenant that these keys sign for; empty is any.
    pub tenant: String,
    /// How far the log-in's clock and ours may be apart.
    pub leeway_seconds: i64,
}

/// Where traces go.
#[derive(Clone, Debug, Deserialize)]
pub struct TelemetrySettings {
    /// The collector that takes OTLP over HTTP; `/v1/traces` is added. Empty exports nothing.
    pub otlp_endpoint: String,
    /// Of a hundred traces that begin here, so many are exported; one that came with a request brings its own answer.
    pub traced_percent: u64,
}

/// The stand-ins for the outside world.
#[derive(Clone, Debug, Deserialize)]
pub struct SandboxSettings {
    /// Where Stripe's and EasyPost's protocols and the controls are served.
    pub address: SocketAddr,
    /// Where SMTP is served.
    pub smtp_address: SocketAddr,
    /// Where its Stripe sends webhooks.
    pub stripe_webhook_url: String,
    /// Where its EasyPost sends webhooks.
    pub easypost_webhook_url: String,
    /// Where its wallet sends webhooks.
    pub wallet_webhook_url: String,
    /// Where its append-only truth is written, as JSON lines; empty keeps it in memory.
    pub truth_file: String,
}

/// Milliseconds of a setting as a duration.
#[must_use]
pub const fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}
