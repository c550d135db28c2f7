//! What an author reads when a plugin does not compile: each file beside this one is compiled, and every error is to
//! stand at the line marked `//~` and to contain what follows the mark. No file may have another error.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// An error: the file's name, the line, the whole of what the compiler says there.
type Found = BTreeMap<String, Vec<(usize, String)>>;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_errors")
}

/// A project whose examples are the fixtures; it depends on what an author's does.
fn project() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-errors");
    let _ = fs::remove_dir_all(root.join("examples"));
    for folder in ["src", "examples"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let sdk = env!("CARGO_MANIFEST_DIR");
    let manifest = format!(
        "[package]\nname = \"fixtures\"\nedition = \"2024\"\n[dependencies]\nbellwether-sdk = {{ path = {sdk:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n[workspace]\n"
    );
    fs::write(root.join("Cargo.toml"), manifest).expect("a file");
    // The versions of the workspace, so that nothing is looked up or fetched.
    fs::copy(Path::new(sdk).join("../Cargo.lock"), root.join("Cargo.lock"))
        .expect("the workspace has a lock file");
    fs::write(root.join("src/lib.rs"), "").expect("a file");
    for entry in fs::read_dir(fixtures()).expect("the fixtures").flatten() {
        fs::copy(entry.path(), root.join("examples").join(entry.file_name())).expect("a file");
    }
    root
}

/// Compiles the project and reads the compiler's messages off it.
fn compile(root: &Path) -> Found {
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--examples", "--keep-going", "--quiet", "--message-format=json"])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", root.join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo starts");
    let mut found = Found::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let diagnostic = &message["message"];
        // "aborting due to …" has no place.
        let Some(span) = diagnostic["spans"].as_array().and_then(|spans| {
            spans.iter().find(|span| span["is_primary"] == true).filter(|_| diagnostic["level"] == "error")
        }) else {
            continue;
        };
        // An error in what a macro wrote is shown where the macro was called.
        let mut span = span;
        while !span["file_name"].as_str().unwrap_or_default().starts_with("examples") {
            span = &span["expansion"]["span"];
            assert!(span.is_object(), "an error outside of the author's file: {diagnostic:#}");
        }
        let file =
            span["file_name"].as_str().and_then(|file| file.strip_prefix("examples/")).expect("a fixture");
        let place = span["line_start"].as_u64().and_then(|line| usize::try_from(line).ok()).expect("a line");
        // The compiler shows the author's line, mark and all: what it says is the rest.
        let rendered = diagnostic["rendered"].as_str().unwrap_or_default();
        let text = rendered.lines().map(|line| line.split("//~ ").next().unwrap_or(line));
        let text = text.collect::<Vec<_>>().join("\n");
        found.entry(file.to_owned()).or_default().push((place, text));
    }
    assert!(!found.is_empty(), "nothing was compiled: {}", String::from_utf8_lossy(&output.stderr));
    found
}

#[test]
fn an_error_stands_at_the_authors_line_and_says_what_is_wrong() {
    let mut found = compile(&project());
    let mut failures = Vec::new();
    let mut files = 0;
    for entry in fs::read_dir(fixtures()).expect("the fixtures").flatten() {
        files += 1;
        let name = entry.file_name().to_string_lossy().into_owned();
        let source = fs::read_to_string(entry.path()).expect("a file");
        let mut errors = found.remove(&name).unwrap_or_default();
        for (number, line) in source.lines().enumerate() {
            let Some((_, expected)) = line.split_once("//~ ") else { continue };
            let before = errors.len();
            // The same may be said of a type where it is described and where it is read.
            errors.retain(|(at, text)| *at != number + 1 || !text.contains(expected.trim()));
            if errors.len() == before {
                failures.push(format!("{name}:{}: no error says {expected:?}", number + 1));
            }
        }
        failures
            .extend(errors.into_iter().map(|(line, text)| format!("{name}:{line}: not expected:\n{text}")));
    }
    assert!(files > 0 && failures.is_empty(), "{}", failures.join("\n"));
}
