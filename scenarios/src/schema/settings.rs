//! Kafka's settings in a scenario: every value of every list, and every combination of them that a rule of Kafka's can tell
//! from others, is read before anything runs.

use super::notice::Notice;
use super::source::{Path, at};
use super::{ClientKind, Draw, Scenario, Setting, Settings};
use klamm_model::config::{
    BrokerConfig, ConfigError, ConsumerConfig, ProducerConfig, Properties, TopicConfig, Unheeded, Warning,
};

/// Reads one table of settings: what has no effect, or everything that is wrong.
type Parse<'a> = &'a dyn Fn(&Properties) -> Result<Vec<Warning>, Vec<ConfigError>>;

/// Tables with at most so many combinations are read in all of them.
const FEW: usize = 64;
/// In no more than so many is any table read.
const MANY: usize = 20_000;
/// Kafka has fewer settings of any kind.
const MAX_SETTINGS: usize = 1000;

/// Checks every table of settings.
pub(super) fn check(s: &Scenario, problems: &mut Vec<Notice>, warnings: &mut Vec<String>) {
    let mut one = |name: &str, at: Path, settings: &Settings, parse: Parse<'_>| {
        table(name, &at, settings, parse, problems, warnings);
    };
    one("[broker]", at!["broker"], &s.broker, &|p| BrokerConfig::read_scaled(p).map(|r| r.1));
    for (i, topic) in s.topics.iter().enumerate() {
        let name = format!("topic `{}`", topic.name);
        one(&name, at!["topic", i, "config"], &topic.config, &|p| TopicConfig::read_scaled(p).map(|r| r.1));
    }
    for (i, client) in s.clients.iter().enumerate() {
        let at = at!["clients", i, "config"];
        match client.kind {
            ClientKind::Producer => one("producer", at, &client.config, &|p| ProducerConfig::read(p).map(|r| r.1)),
            ClientKind::Consumer | ClientKind::Group => {
                one("consumer", at, &client.config, &|p| ConsumerConfig::read(p).map(|r| r.1));
                if let Some(forward) = client.member.as_ref().and_then(|m| m.forward.as_ref()) {
                    let at = at!["clients", i, "member", "forward", "config"];
                    one("forward", at, &forward.config, &|p| ProducerConfig::read(p).map(|r| r.1));
                }
            }
        }
    }
}

fn table(
    name: &str,
    at: &Path,
    settings: &Settings,
    parse: Parse<'_>,
    problems: &mut Vec<Notice>,
    warnings: &mut Vec<String>,
) {
    let keys: Vec<(&String, &Draw<Setting>, Vec<&Setting>)> =
        settings.iter().map(|(key, draw)| (key, draw, draw.extremes())).collect();
    let values: Vec<Vec<&Setting>> = keys.iter().map(|k| k.2.clone()).collect();
    if keys.len() > MAX_SETTINGS {
        let message = format!("{name}: {} settings; Kafka has fewer than {MAX_SETTINGS} of a kind", keys.len());
        problems.push(Notice::of_key(message, at.clone()));
        return;
    }
    let Some(combinations) = combinations(&values) else {
        let message = format!("{name}: these lists have more combinations than the {MANY} that can be checked");
        problems.push(Notice::of_key(message, at.clone()).help("shorten the lists of words"));
        return;
    };
    let place = |key: &str, chosen: &[usize]| {
        let n = keys.iter().position(|k| k.0 == key);
        n.map_or(at.clone(), |n| keys[n].1.place(&at.to(key), chosen[n]))
    };
    let mut found: Vec<Notice> = Vec::new();
    let mut told = |notice: Notice| {
        if !found.contains(&notice) {
            found.push(notice);
        }
    };
    for chosen in combinations {
        let properties: Properties =
            keys.iter().zip(&chosen).map(|((key, _, all), n)| ((*key).clone(), all[*n].0.clone())).collect();
        match parse(&properties) {
            Ok(unused) => {
                for w in unused {
                    if let Unheeded::Unknown { .. } = w.why {
                        told(Notice::of_key(format!("{name}: {w}"), at.to(&w.key)));
                        continue;
                    }
                    let text = match w.why {
                        Unheeded::Value(_) => format!("{name}: {w}"),
                        _ => format!("{name}: Klamm does not act on `{}`", w.key),
                    };
                    if !warnings.contains(&text) {
                        warnings.push(text);
                    }
                }
            }
            Err(errors) => {
                for error in &errors {
                    let message = format!("{name}: {error}");
                    told(match error {
                        ConfigError::UnknownKey { key, .. } => Notice::of_key(message, at.to(key)),
                        _ => Notice::new(message, place(error.key(), &chosen)),
                    });
                }
            }
        }
    }
    problems.append(&mut found);
}

/// Which of its values each setting has, combination by combination.
///
/// Few are given in full. Of many: each value beside the first, last, least and greatest of the others, and each pair of
/// words beside the same. Kafka's rules between settings compare a sum with one number, some of them under the condition
/// of one word or two, so that what breaks one is among these.
///
/// `None` if even these are too many.
fn combinations(values: &[Vec<&Setting>]) -> Option<Vec<Vec<usize>>> {
    let product = values.iter().try_fold(1usize, |n, v| n.checked_mul(v.len())).unwrap_or(usize::MAX);
    if product <= FEW {
        let mut all = vec![Vec::new()];
        for v in values {
            all = all.iter().flat_map(|c: &Vec<usize>| (0..v.len()).map(|n| [&c[..], &[n]].concat())).collect();
        }
        return Some(all);
    }
    let end = |v: &Vec<&Setting>, greatest: bool| {
        let numbers = v.iter().enumerate().filter_map(|(n, s)| Some((s.number()?, n)));
        let found = if greatest { numbers.max() } else { numbers.min() };
        found.map_or(0, |(_, n)| n)
    };
    let grounds: [Vec<usize>; 4] = [
        vec![0; values.len()],
        values.iter().map(|v| v.len() - 1).collect(),
        values.iter().map(|v| end(v, false)).collect(),
        values.iter().map(|v| end(v, true)).collect(),
    ];
    let words = |v: &Vec<&Setting>| v.len() > 1 && v.iter().any(|s| s.number().is_none());
    let of_words: Vec<usize> = values.iter().filter(|v| words(v)).map(Vec::len).collect();
    let (sum, squares): (usize, usize) = (of_words.iter().sum(), of_words.iter().map(|n| n * n).sum());
    let pairs = (sum * sum - squares) / 2;
    if grounds.len() * (pairs + values.iter().map(Vec::len).sum::<usize>()) > MANY {
        return None;
    }
    let mut all = grounds.to_vec();
    for ground in &grounds {
        for i in 0..values.len() {
            for a in 0..values[i].len() {
                let mut chosen = ground.clone();
                chosen[i] = a;
                all.push(chosen.clone());
                for j in (i + 1..values.len()).filter(|j| words(&values[i]) && words(&values[*j])) {
                    for b in 0..values[j].len() {
                        let mut both = chosen.clone();
                        both[j] = b;
                        all.push(both);
                    }
                }
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_combinations_those_that_break_a_rule_are_among_the_chosen() {
        let settings: Vec<Setting> = (0..4).map(|n| Setting((9 + n).to_string())).collect();
        let words: Vec<Setting> = ["a", "b", "c"].map(|w| Setting(w.to_owned())).to_vec();
        let numbers: Vec<&Setting> = settings.iter().collect();
        let text: Vec<&Setting> = words.iter().collect();
        let values = [vec![numbers; 6], vec![text; 3]].concat();
        let all = combinations(&values).unwrap();
        assert!(all.len() < 1000, "{}", all.len());
        // `9` is the least of these, though `10` comes before it as a text.
        let sum = |c: &Vec<usize>| settings[c[0]].number().unwrap() + settings[c[1]].number().unwrap();
        assert!(all.iter().any(|c| sum(c) == 24 && settings[c[2]].number() == Some(9)));
        for (x, y) in [(0, 1), (1, 2), (2, 0)] {
            assert!(all.iter().any(|c| c[6] == x && c[8] == y && c[0] == 3), "{x} {y}");
        }
    }

    #[test]
    fn more_than_can_be_read_are_refused() {
        let words: Vec<Setting> = (0..100).map(|n| Setting(format!("w{n}"))).collect();
        let numbers: Vec<Setting> = (0..1000).map(|n| Setting(n.to_string())).collect();
        assert_eq!(combinations(&vec![words.iter().collect::<Vec<_>>(); 2]), None);
        assert!(combinations(&vec![numbers.iter().collect::<Vec<_>>(); 4]).is_some());
    }

    #[test]
    fn few_combinations_are_all_read() {
        let settings = ["1", "2"].map(|w| Setting(w.to_owned()));
        let v: Vec<&Setting> = settings.iter().collect();
        assert_eq!(combinations(&vec![v; 6]).unwrap().len(), 64);
        assert_eq!(combinations(&[]), Some(vec![Vec::new()]));
    }
}
