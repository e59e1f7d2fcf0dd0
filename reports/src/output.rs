//! Where a command writes: looked at before anything runs, written whole or not at all.
//!
//! A plain file is written aside, in its own folder, and renamed, so nothing half-written ever bears its name. A link to a
//! plain file stays a link. A device or a pipe is written to as it is, and never replaced. Everything else is refused.

use crate::ReportError;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a pipe may take no bytes.
const PIPE_PATIENCE: Duration = Duration::from_secs(30);
/// `O_NONBLOCK` of [`OpenOptionsExt::custom_flags`]: a pipe that nothing reads fails to open, and does not wait.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// A place that can be written to.
#[derive(Debug)]
enum Target {
    /// A plain file, or none yet: its real path.
    Plain(PathBuf),
    /// A device or a pipe.
    Stream,
}

fn refused(path: &Path, why: impl Into<String>, help: impl Into<String>) -> ReportError {
    ReportError::Output { path: path.display().to_string(), why: why.into(), help: help.into() }
}

/// What a file is, in words, if it is nothing that can be written to.
fn kind(of: FileType) -> &'static str {
    match of {
        of if of.is_dir() => "a directory",
        of if of.is_socket() => "a socket",
        of if of.is_block_device() => "a block device",
        of if of.is_fifo() => "a pipe",
        of if of.is_char_device() => "a device",
        _ => "no plain file",
    }
}

/// The folder that a path lies in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// Whether a path is one of those under which the system hands out open files, such as `/dev/stdout` and `/dev/fd/63`.
fn is_open_file(path: &Path) -> bool {
    let begins = path.starts_with("/dev") || path.starts_with("/proc");
    begins && fs::canonicalize(path).is_ok_and(|real| real != path)
}

fn target(path: &Path) -> Result<Target, ReportError> {
    if path.file_name().is_none() || path.components().next_back() == Some(Component::ParentDir) {
        return Err(refused(path, "this names no file", "name a file, such as `junit.xml`"));
    }
    let found = match fs::metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                return Err(refused(path, "this is a link that leads nowhere", "name what it should lead to"));
            }
            return Ok(Target::Plain(path.to_owned()));
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(refused(path, "a part of its path is a file", "name a file in a folder"));
        }
        Err(source) => return Err(ReportError::Io { path: path.display().to_string(), source }),
    };
    if found.is_file() && !is_open_file(path) {
        let real =
            fs::canonicalize(path).map_err(|source| ReportError::Io { path: path.display().to_string(), source })?;
        return Ok(Target::Plain(real));
    }
    if found.is_dir() {
        let within = path.join("report").display().to_string();
        return Err(refused(path, "this is a directory", format!("name a file in it, such as `{within}`")));
    }
    if found.is_file() || found.is_char_device() || found.is_fifo() {
        return Ok(Target::Stream);
    }
    Err(refused(path, format!("this is {}, which is not written to", kind(found)), "name a plain file"))
}

/// The file that is written before it gets its name.
fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

fn make_aside(path: &Path) -> io::Result<(PathBuf, File)> {
    let aside = aside(path);
    let make = || OpenOptions::new().write(true).create_new(true).open(&aside);
    let file = match make() {
        // Left by a process of this number that was killed.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::remove_file(&aside).and_then(|()| make()),
        made => made,
    }?;
    Ok((aside, file))
}

/// Whether a folder, or the one it will be made in, can take new files.
fn can_take_files(folder: &Path, asked: &Path) -> Result<(), ReportError> {
    let probe = make_aside(&folder.join("klamm-probe"));
    let (aside, _) = probe.map_err(|error| {
        refused(asked, format!("nothing can be written in {}: {error}", folder.display()), "name another place")
    })?;
    let _ = fs::remove_file(aside);
    Ok(())
}

/// Whether it is a pipe with a name: its reader would take a look for the end of what is written.
fn is_pipe(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.file_type().is_fifo()) && !is_open_file(path)
}

fn open_stream(path: &Path) -> Result<File, ReportError> {
    let mut how = OpenOptions::new();
    // What the system hands out may be a file that others write to as well.
    how.write(true).append(fs::metadata(path).is_ok_and(|m| m.is_file())).custom_flags(NONBLOCK);
    how.open(path).map_err(|source| {
        if is_pipe(path) {
            return refused(path, format!("this is a pipe that nothing reads ({source})"), "start its reader first");
        }
        ReportError::Io { path: path.display().to_string(), source }
    })
}

/// Looks whether a file can be written, and writes nothing.
///
/// # Errors
/// [`ReportError::Output`], with what would do instead.
pub fn check_file(path: &Path) -> Result<(), ReportError> {
    match target(path)? {
        Target::Stream if is_pipe(path) => Ok(()),
        Target::Stream => open_stream(path).map(drop),
        Target::Plain(real) => {
            let folder = folder_of(&real);
            if !folder.is_dir() {
                let what = if folder.exists() { "is no folder" } else { "does not exist" };
                let help = format!("make it first: `mkdir -p {}`", folder.display());
                return Err(refused(path, format!("its folder {} {what}", folder.display()), help));
            }
            can_take_files(folder, path)
        }
    }
}

/// Looks whether a folder is one, or can be made, and makes nothing.
///
/// # Errors
/// [`ReportError::Output`], with what would do instead.
pub fn check_folder(path: &Path) -> Result<(), ReportError> {
    let mut at = path;
    loop {
        let shown = if at.as_os_str().is_empty() { Path::new(".") } else { at };
        match fs::metadata(shown) {
            Ok(found) if found.is_dir() => return can_take_files(shown, path),
            Ok(found) => {
                let kind = if found.is_file() { "a file" } else { kind(found.file_type()) };
                let why = if at == path { format!("this is {kind}") } else { format!("{} is {kind}", at.display()) };
                return Err(refused(path, why, "name a folder"));
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                if fs::symlink_metadata(shown).is_ok() {
                    let why = format!("{} is a link that leads nowhere", shown.display());
                    return Err(refused(path, why, "name a folder"));
                }
                at = folder_of(at);
            }
            Err(source) => return Err(ReportError::Io { path: path.display().to_string(), source }),
        }
    }
}

/// Writes a file whole or not at all; what is no plain file is written to and stays what it is.
///
/// # Errors
/// [`ReportError::Output`] where nothing can be written, [`ReportError::Io`] where writing fails.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), ReportError> {
    let io = |source| ReportError::Io { path: path.display().to_string(), source };
    match target(path)? {
        Target::Stream => write_to_stream(open_stream(path)?, content).map_err(io),
        Target::Plain(real) => {
            let (aside, mut file) = make_aside(&real).map_err(io)?;
            let written = file.write_all(content).and_then(|()| {
                // A file that is replaced keeps its permissions.
                fs::metadata(&real).map_or(Ok(()), |old| file.set_permissions(old.permissions()))?;
                fs::rename(&aside, &real)
            });
            written.map_err(|source| {
                let _ = fs::remove_file(&aside);
                io(source)
            })
        }
    }
}

/// A pipe may be full for a while.
fn write_to_stream(mut file: File, mut content: &[u8]) -> io::Result<()> {
    let mut moved = Instant::now();
    while !content.is_empty() {
        match file.write(content) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                content = &content[n..];
                moved = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && moved.elapsed() < PIPE_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn said(error: ReportError) -> String {
        let ReportError::Output { why, help, .. } = &error else { panic!("{error}") };
        format!("{why}: {help}")
    }

    fn names(of: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(of).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_plain_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let (file, other) = (place.path().join("junit.xml"), place.path().join("junit.part"));
        fs::write(&other, "mine").unwrap();
        check_file(&file).unwrap();
        assert!(!file.exists(), "looking makes nothing");
        write_whole(&file, b"one").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        write_whole(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read(&other).unwrap(), b"mine");
        assert_eq!(names(place.path()), ["junit.part", "junit.xml"]);
    }

    #[test]
    fn a_link_stays_a_link_and_what_it_leads_to_is_written() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("elsewhere")).unwrap();
        fs::write(at("elsewhere/real.xml"), "old").unwrap();
        symlink("elsewhere/real.xml", at("link.xml")).unwrap();
        write_whole(&at("link.xml"), b"new").unwrap();
        assert!(fs::symlink_metadata(at("link.xml")).unwrap().is_symlink());
        assert_eq!(fs::read(at("elsewhere/real.xml")).unwrap(), b"new");
        symlink("nowhere", at("dangling")).unwrap();
        for check in [check_file(&at("dangling")), check_folder(&at("dangling")), write_whole(&at("dangling"), b"x")] {
            assert!(said(check.unwrap_err()).contains("leads nowhere"));
        }
    }

    #[test]
    fn devices_and_pipes_are_written_to_and_stay_what_they_are() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        symlink("/dev/null", at("null")).unwrap();
        for path in [at("null"), PathBuf::from("/dev/null")] {
            check_file(&path).unwrap();
            write_whole(&path, b"gone").unwrap();
            assert!(fs::metadata(&path).unwrap().file_type().is_char_device());
        }
        assert!(fs::symlink_metadata(at("null")).unwrap().is_symlink());
        let made = std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap();
        assert!(made.success());
        assert!(said(write_whole(&at("fifo"), b"x").unwrap_err()).contains("nothing reads"));
        let (fifo, content) = (at("fifo"), vec![b'x'; 300_000]);
        let reader = std::thread::spawn(move || fs::read(fifo).unwrap());
        let began = Instant::now();
        check_file(&at("fifo")).unwrap();
        while write_whole(&at("fifo"), &content).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(reader.join().unwrap().len(), content.len());
        assert!(fs::symlink_metadata(at("fifo")).unwrap().file_type().is_fifo());
    }

    #[test]
    fn everything_else_is_refused_with_a_suggestion() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        fs::write(at("file"), "x").unwrap();
        let file = |path: &Path| said(check_file(path).unwrap_err());
        assert!(file(place.path()).contains("a directory: name a file in it"), "{}", file(place.path()));
        assert!(file(&at("socket")).contains("a socket"));
        assert!(file(&at("no/such/junit.xml")).contains("mkdir -p"));
        assert!(file(&at("file/junit.xml")).contains("a part of its path is a file"));
        assert!(file(&at("..")).contains("names no file"));
        let folder = |path: &Path| said(check_folder(path).unwrap_err());
        assert!(folder(&at("file")).contains("this is a file: name a folder"));
        assert!(folder(&at("file/out")).contains("file is a file"));
        assert!(folder(&at("socket")).contains("a socket"));
        assert!(folder(Path::new("/dev/null")).contains("a device"));
        check_folder(&at("new/and/newer")).unwrap();
        assert_eq!(names(place.path()), ["file", "socket"], "looking makes nothing");
        assert_eq!(fs::read(at("file")).unwrap(), b"x");
    }
}
