//! The files that are measured.

use std::path::{Path, PathBuf};

/// A Rust file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path inside its crate.
    pub shown: String,
    /// The first folder below `src`, or the file's own name.
    pub area: String,
    /// The module's path inside the crate, from its file.
    pub module: Vec<String>,
    /// Whether the whole file is test code.
    pub test: bool,
    pub text: String,
}

/// Every Rust file below a crate's folder, in order; not those of crates inside it.
pub fn rust(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for path in with_ending(root, "rs")? {
        let inside = path.strip_prefix(root).unwrap_or(&path);
        let parts: Vec<String> = inside.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        let name = parts.last().map(String::as_str).unwrap_or_default();
        let test = parts.iter().any(|p| p == "tests" || p == "benches" || p == "examples")
            || matches!(name, "tests.rs" | "testing.rs")
            || name.ends_with("_tests.rs");
        let below: Vec<String> = parts.iter().skip(usize::from(parts[0] == "src")).cloned().collect();
        let mut module: Vec<String> = below.iter().map(|p| p.trim_end_matches(".rs").to_owned()).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let area = module.first().cloned().unwrap_or_default();
        sources.push(Source { shown: inside.display().to_string(), area, module, test, text: read(&path)? });
    }
    Ok(sources)
}

/// Every file below a folder whose name ends so, in order.
pub fn with_ending(root: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
            let own = path.join("Cargo.toml").exists();
            if path.is_dir() && !path.ends_with("target") && !own {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A file's text.
pub fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}
