//! What `[expect]` may forbid: checks that the same file does not expect.

use super::Scenario;
use super::notice::Notice;
use super::source::at;

/// Refuses what cannot be forbidden. That there is such a check at all is asked where all names are.
pub(super) fn check(s: &Scenario, problems: &mut Vec<Notice>) {
    for (n, check) in s.expect.forbid.iter().enumerate().filter(|(_, check)| s.expect.tolerated().any(|c| c == *check))
    {
        let message = format!("`{check}` is forbidden, and is expected or tolerated by the same scenario");
        problems.push(Notice::new(message, at!["expect", "forbid", n]));
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
