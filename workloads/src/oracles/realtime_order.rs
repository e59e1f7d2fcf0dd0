//! realtime-order: an acknowledged send lies below an offset that was already acknowledged when it began.
//!
//! Each partition remembers its highest acknowledged offset over time, as far back as sends usually take.

use super::report::{Findings, Report};
use super::store::{Acked, Store};
use klamm_model::history::ValueId;

/// How many moments are remembered. For sends that took longer nothing is judged.
const MOMENTS: usize = 8192;

/// A send that began at `invoked` was acknowledged at an offset.
pub(super) fn acknowledged(
    store: &mut Store,
    out: &mut Findings,
    value: u64,
    part: u32,
    offset: i64,
    invoked: u64,
    at: u64,
) {
    let acked = &mut store.parts[part as usize].acked;
    let own = Acked { at, offset, value };
    match acked.back_mut() {
        None => acked.push_back(own),
        Some(last) if offset > last.offset => {
            if last.at == at {
                *last = own;
            } else {
                if acked.len() == MOMENTS {
                    acked.pop_front();
                }
                acked.push_back(own);
            }
        }
        Some(_) => {
            let before = acked.partition_point(|a| a.at < invoked);
            let Some(&above) = before.checked_sub(1).and_then(|i| acked.get(i)).filter(|a| a.offset > offset) else {
                return;
            };
            let report = Report::new("realtime-order", at, ValueId(value).client(), part).offset(offset);
            let words = || format!("acknowledged at offset {offset}; when it began, {} was acknowledged", above.offset);
            let witness = || store.story(above.value).chain(store.story(value)).collect();
            out.add(store, report.values(&[above.value, value]), words, witness);
        }
    }
}
