//! Which modules of a crate import each other in a circle.

use crate::files::Source;
use crate::scan::Scan;
use std::collections::{BTreeMap, BTreeSet};

/// Modules and their imports.
pub struct Graph {
    modules: Vec<Vec<String>>,
    edges: BTreeSet<(usize, usize)>,
}

/// The graph of a crate's files, without test code.
pub fn of(scans: &[(Source, Scan)]) -> Graph {
    let code = || scans.iter().filter(|(source, _)| !source.test);
    let modules: Vec<Vec<String>> = code().map(|(source, _)| source.module.clone()).collect();
    let number: BTreeMap<&[String], usize> = modules.iter().enumerate().map(|(n, m)| (m.as_slice(), n)).collect();
    let mut edges = BTreeSet::new();
    for (from, (_, scan)) in code().enumerate() {
        for import in &scan.imports {
            // An import names an item: its module is the longest part that is a file.
            let to = (0..=import.len()).rev().find_map(|n| number.get(&import[..n]));
            if let Some(&to) = to.filter(|to| **to != from) {
                edges.insert((from, to));
            }
        }
    }
    Graph { modules, edges }
}

impl Graph {
    /// Sets of modules that all reach each other. An import between a module and one
    /// inside it counts only if `family`, and then a module also depends on those that it consists of.
    pub fn cycles(&self, family: bool) -> Vec<Vec<String>> {
        let related = |a: usize, b: usize| {
            let (a, b) = (&self.modules[a], &self.modules[b]);
            a.starts_with(b) || b.starts_with(a)
        };
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); self.modules.len()];
        for &(from, to) in self.edges.iter().filter(|(a, b)| family || !related(*a, *b)) {
            next[from].push(to);
        }
        if family {
            for (outer, children) in self.modules.iter().zip(&mut next) {
                let is_child =
                    |m: &Vec<String>| !outer.is_empty() && m.len() == outer.len() + 1 && m.starts_with(outer);
                children.extend((0..self.modules.len()).filter(|n| is_child(&self.modules[*n])));
            }
        }
        let reached: Vec<BTreeSet<usize>> = (0..next.len()).map(|n| reach(&next, n)).collect();
        let mut cycles = Vec::new();
        let mut done: BTreeSet<usize> = BTreeSet::new();
        for n in 0..next.len() {
            let circle: Vec<usize> =
                reached[n].iter().copied().filter(|m| reached[*m].contains(&n) && !done.contains(m)).collect();
            if circle.len() > 1 {
                done.extend(&circle);
                cycles.push(circle.iter().map(|m| self.modules[*m].join("::")).collect());
            }
        }
        cycles
    }
}

/// What is reached from a module by one import or more.
fn reach(next: &[Vec<usize>], from: usize) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut open = next[from].clone();
    while let Some(n) = open.pop() {
        if seen.insert(n) {
            open.extend(&next[n]);
        }
    }
    seen
}
