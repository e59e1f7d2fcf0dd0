//! What `[expect]` may forbid: checks that the table of permissions knows, and that the same file does not expect.

use super::Scenario;
use super::check::{Notice, notice};
use crate::suggest;
use klamm_workloads::oracles::CHECKS;
use klamm_workloads::permission::TABLE;

/// Every check that can be forbidden: those that something permits, and every oracle.
pub fn forbidden() -> Vec<&'static str> {
    let permitted = TABLE.iter().flat_map(|row| row.checks);
    let mut all: Vec<&'static str> = permitted.chain(CHECKS).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Refuses what cannot be forbidden.
pub(super) fn check(s: &Scenario, problems: &mut Vec<Notice>) {
    let known = forbidden();
    for check in &s.expect.forbid {
        if !known.contains(&check.as_str()) {
            let hint = suggest::nearest(check, known.iter().copied());
            problems
                .push(notice(format!("`forbid`: there is no check `{check}`{hint}"), &["[expect]", "forbid", check]));
        } else if s.expect.tolerates(check) {
            let message = format!("`{check}` is forbidden, and is expected or tolerated by the same scenario");
            problems.push(notice(message, &["[expect]", "forbid", check]));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog;
    use crate::schema::check;

    #[test]
    fn a_check_to_forbid_must_exist_and_not_be_expected() {
        let mut s = catalog::find("leader-crash-acks-all").unwrap().remove(0);
        s.expect.forbid = vec!["lost-write".to_owned(), "unseen".to_owned()];
        assert!(check(&s).is_ok());
        s.expect.forbid = vec!["lost-wirte".to_owned()];
        let problems = check(&s).unwrap_err();
        assert!(problems[0].message.contains("there is no check `lost-wirte`"), "{problems:?}");
        assert!(problems[0].message.contains("did you mean `lost-write`"), "{problems:?}");
        s.expect.forbid = vec!["lost-write".to_owned()];
        s.expect.permits = vec!["lost-write".to_owned()];
        assert!(check(&s).unwrap_err()[0].message.contains("is forbidden, and is expected or tolerated"));
    }
}
