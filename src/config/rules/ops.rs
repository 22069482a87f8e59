//! Rules of the operators' side: keys and what they open must not cross a network in the clear, nobody may lock the others out,
//! and what was done is not forgotten soon.

use crate::config::Settings;
use crate::config::faults::Fault;

/// Orders, and the record of what operators did, are kept for a year at least: the database refuses to forget more.
const SHORTEST_RECORD: u64 = 365;

pub(super) fn faults(settings: &Settings, faults: &mut Vec<Fault>) {
    let ops = &settings.ops;
    if !ops.address.ip().is_loopback() && !ops.tls_in_front {
        let what = "others can reach it, and keys would come in the clear: serve it on 127.0.0.1, or put a proxy that speaks TLS \
                    before it and say so with ops.tls_in_front = true";
        faults.push(Fault::new("ops.address", what));
    }
    if ops.tls_in_front && ops.trusted_proxies.is_empty() {
        let what = "must name the proxy that speaks TLS, such as [\"127.0.0.1\"]: tries to sign in count by address, and without \
                    it anybody's would lock everybody out";
        faults.push(Fault::new("ops.trusted_proxies", what));
    }
    if (1..SHORTEST_RECORD).contains(&settings.retention.actions_days) {
        let what = "must be 365 or more, or 0 for ever: who did what is asked about long after";
        faults.push(Fault::new("retention.actions_days", what));
    }
    if (1..SHORTEST_RECORD).contains(&settings.retention.orders_days) {
        let what = "must be 365 or more, or 0 for ever: the database refuses to delete what is younger";
        faults.push(Fault::new("retention.orders_days", what));
    }
    if ops.tenant.is_empty() {
        faults.push(Fault::new("ops.tenant", "must be the tenant of the keys that operate the fleet"));
    }
}
