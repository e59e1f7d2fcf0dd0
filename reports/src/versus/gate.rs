//! Limits on how much worse a figure may get: `p99=5%,lost=0`, `exact`, `wall=10%`.

use super::wall::Verdict;
use super::{Versus, gated};

/// One limit.
#[derive(Clone, PartialEq, Debug)]
pub enum Limit {
    /// Nothing may differ: no figure, no digest.
    Exact,
    /// This figure of any scenario may get worse by at most this share.
    Figure(&'static str, f64),
    /// Time on the wall may grow by at most this share.
    Wall(f64),
}

/// All limits.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Gate(pub Vec<Limit>);

impl Gate {
    /// Reads limits, separated by commas.
    ///
    /// # Errors
    /// What is wrong, and what could be meant.
    pub fn parse(text: &str) -> Result<Gate, String> {
        let known = || gated().chain(["wall", "exact"]).collect::<Vec<_>>().join(", ");
        let one = |word: &str| {
            if word == "exact" {
                return Ok(Limit::Exact);
            }
            let Some((name, share)) = word.split_once('=') else {
                return Err(format!("`{word}`: expected a figure and its limit, such as p99=5%, or `exact`"));
            };
            let number = share.strip_suffix('%').unwrap_or(if share == "0" { "0" } else { "" });
            let limit = number.trim().parse::<f64>().ok().filter(|n| (0.0..=1e6).contains(n));
            let limit = limit.ok_or_else(|| {
                format!("`{word}`: expected a share such as {name}=5%, or {name}=0 for not worse at all")
            })? / 100.0;
            match gated().find(|figure| *figure == name) {
                Some(figure) => Ok(Limit::Figure(figure, limit)),
                None if name == "wall" => Ok(Limit::Wall(limit)),
                None => Err(format!("`{name}` is no figure: one of {}", known())),
            }
        };
        let limits: Result<Vec<Limit>, String> =
            text.split(',').map(str::trim).filter(|w| !w.is_empty()).map(one).collect();
        let limits = limits?;
        if limits.is_empty() { Err(format!("no limit: one of {}", known())) } else { Ok(Gate(limits)) }
    }

    /// What exceeds its limit, one sentence each.
    ///
    /// # Errors
    /// If a limit cannot be judged: a gate that cannot fail must not pass.
    pub fn exceeded(&self, versus: &Versus) -> Result<Vec<String>, String> {
        let mut exceeded = Vec::new();
        for limit in &self.0 {
            for s in &versus.scenarios {
                let title = &s.title;
                match limit {
                    Limit::Exact => {
                        let other = s.seeds - s.same;
                        let names: Vec<&str> = s.changes.iter().filter(|c| c.differs()).map(|c| c.figure).collect();
                        if other > 0 || !names.is_empty() {
                            let names = if names.is_empty() { "no figure".to_owned() } else { names.join(", ") };
                            exceeded.push(format!(
                                "{title}: {other} of {} seeds went another way; {names} differ",
                                s.seeds
                            ));
                        }
                    }
                    Limit::Figure(name, most) => {
                        let Some(c) = s.changes.iter().find(|c| c.figure == *name) else { continue };
                        if c.worsened() > *most {
                            exceeded.push(format!(
                                "{title}: {name} went from {} to {}, {} worse; the limit is {}",
                                super::show::value(c.unit, c.base),
                                super::show::value(c.unit, c.other),
                                super::show::share(c.worsened()),
                                super::show::share(*most)
                            ));
                        }
                    }
                    Limit::Wall(most) => {
                        let Some(w) = &s.wall else {
                            return Err(format!("{title}: too few seeds to judge time on the wall"));
                        };
                        if w.verdict == Verdict::NoVerdict {
                            return Err(match &w.base_again {
                                None => "time on the wall is judged only beside a second run of the base: name its \
                                         folder, too"
                                    .to_owned(),
                                Some(e) => format!(
                                    "{title}: no verdict on time on the wall: the base differs from itself by {}",
                                    super::show::share(e.mean)
                                ),
                            });
                        }
                        if w.effect.low > *most {
                            exceeded.push(format!(
                                "{title}: time on the wall grew by {} (95%: {} to {}); the limit is {}",
                                super::show::share(w.effect.mean),
                                super::show::share(w.effect.low),
                                super::show::share(w.effect.high),
                                super::show::share(*most)
                            ));
                        }
                    }
                }
            }
        }
        Ok(exceeded)
    }
}
