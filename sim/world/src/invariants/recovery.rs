//! client-recovers: a client that lived through the faults works when they are over.
//!
//! It must have an address to try at which a broker runs, whatever became of the cluster. Where the cluster has converged,
//! it must have the metadata that it needs, no send without an end, and must have read to the end what it reads.

use super::audit::brokers;
use super::groups::committed_end;
use super::{Account, Check, Ctx, Invariants, Unmet};
use crate::event::{NodeRef, Ordinal};
use klamm_model::ids::Offset;
use klamm_model::inspect::{ClientInspection, Inspection};
use klamm_model::units::Instant;
use std::collections::BTreeSet;

impl Invariants {
    /// What keeps clients from working, in a fixed order; empty once each of them works. Poll it until it is empty or the
    /// budget ends. A client that does not run has ended, and is not judged. `converged`: the cluster has.
    pub fn unrecovered(&mut self, clients: &[NodeRef], accounts: &[Account], converged: bool) -> Vec<Unmet> {
        let up: BTreeSet<&str> = brokers(accounts).map(|(node, _)| self.cluster.name(node)).collect();
        let mut unmet = Vec::new();
        let mut judged = 0;
        for account in accounts.iter().filter(|a| clients.contains(&a.node)) {
            let Some(Inspection::Client(client)) = &account.inspection else { continue };
            judged += 1;
            let name = self.cluster.name(account.node);
            let mut say =
                |condition, detail: String| unmet.push(Unmet { condition, detail: format!("{name} {detail}") });
            for reach in &client.reach {
                if reach.addresses.is_empty() {
                    say("broker-known", "knows no address of any broker".to_owned());
                } else if !reach.addresses.iter().any(|address| up.contains(&*address.host)) {
                    say("broker-known", format!("knows only {:?}, where no broker runs", reach.addresses));
                } else if converged && reach.awaits_metadata {
                    say("metadata-current", "waits for metadata".to_owned());
                }
            }
            if converged {
                standstill(client, accounts).into_iter().for_each(|(condition, detail)| say(condition, detail));
            }
        }
        self.armed.at_least(Check::ClientRecovers, judged);
        unmet
    }

    /// Makes findings of clients that did not work within the budget (`client-recovers`).
    pub fn not_recovered(&mut self, at: Instant, last: Ordinal, unmet: &[Unmet]) {
        for one in unmet {
            let ctx = Ctx { ordinal: last, cause: Ordinal(0), at, host: None, node: None };
            self.findings.report(ctx.finding(Check::ClientRecovers, format!("{}: {}", one.condition, one.detail)));
        }
    }
}

/// What a client still has to do in a cluster where everything is settled.
fn standstill(client: &ClientInspection, accounts: &[Account]) -> Vec<(&'static str, String)> {
    let mut still = Vec::new();
    if client.pending_sends > 0 {
        still.push(("sends-resolved", format!("has {} sends pending", client.pending_sends)));
    }
    if client.unplaced > 0 {
        still.push(("positions-known", format!("does not know where to read {} partitions", client.unplaced)));
    }
    let behind = |(source, at): (&(String, i32), &Offset)| {
        let end = committed_end(accounts, source).filter(|end| at < end)?;
        Some(("read-to-the-end", format!("is at {at} of {end} of {}-{}", source.0, source.1)))
    };
    still.extend(client.positions.iter().filter_map(behind));
    still
}
