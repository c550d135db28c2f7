//! Builds the plugins that are written in other languages, as their READMEs say, with the host's binary and the
//! languages' own tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{host, npm, workspace};

/// One plugin.
struct Plugin {
    /// Its sources, in the repository.
    folder: &'static str,
    language: Language,
    name: &'static str,
    description: &'static str,
    role: &'static str,
    privileges: &'static [&'static str],
    /// What a benchmark gives it, as JSON.
    bench: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Python,
    JavaScript,
}

const PLUGINS: [Plugin; 3] = [
    Plugin {
        folder: "examples/python-app",
        language: Language::Python,
        name: "pick-items",
        description: "Picks items of a JSON list at random.",
        role: "app",
        privileges: &["http-client"],
        bench: r#"{"url": "{url}"}"#,
    },
    Plugin {
        folder: "tests/python/probe",
        language: Language::Python,
        name: "probe",
        description: "Runs Python that it is given.",
        role: "app",
        privileges: &["log"],
        bench: r#"{"code": "result = 1"}"#,
    },
    Plugin {
        folder: "examples/javascript-app",
        language: Language::JavaScript,
        name: "time-page",
        description: "Measures how long a page takes to answer.",
        role: "app",
        privileges: &[],
        bench: r#"{"url": "{url}"}"#,
    },
];

/// Where the components and what they are built from are put: never among those the binary carries.
pub(crate) fn folder() -> PathBuf {
    host::target().join("languages")
}

/// Builds each into `target/languages`, unless it is there and nothing it is made of has changed. A language whose tool
/// is missing is skipped, and so are its tests.
pub(crate) fn build(binary: &Path, python: &Path) -> Result<()> {
    let javascript = workspace().join("examples/javascript-app/package.json");
    let node = npm::install(&javascript, &folder());
    if let Err(error) = &node {
        println!("SKIPPED: plugins in JavaScript are not built: {error:#}");
    }
    for plugin in &PLUGINS {
        let component = folder().join(plugin.name).with_extension("wasm");
        if plugin.language == Language::JavaScript && node.is_err() {
            // One of an earlier day is not what the tests are about.
            let _ = fs::remove_file(component);
            continue;
        }
        plugin
            .build(binary, python, &component)
            .with_context(|| format!("{} is not built", plugin.folder))?;
    }
    Ok(())
}

/// Each component, and what a benchmark gives it.
pub(crate) fn components() -> Vec<(PathBuf, &'static str)> {
    let path = |plugin: &Plugin| folder().join(plugin.name).with_extension("wasm");
    PLUGINS.iter().map(|plugin| (path(plugin), plugin.bench)).collect()
}

impl Plugin {
    fn build(&self, binary: &Path, python: &Path, component: &Path) -> Result<()> {
        let work = folder().join(self.name);
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        copy(&workspace().join(self.folder), &work)?;
        let mut contract = Command::new(binary);
        contract.args(["plugin", "contract", "--role", self.role]).current_dir(&work);
        for privilege in self.privileges {
            contract.args(["--privilege", privilege]);
        }
        quietly(&mut contract)?;
        let mut digest = Sha256::new();
        for text in [self.name, self.description, &self.language.tools()?] {
            digest.update(text.as_bytes());
        }
        digest_of(&work, &mut digest)?;
        let (marker, digest) =
            (work.with_extension("digest"), data_encoding::HEXLOWER.encode(&digest.finalize()));
        if component.is_file() && fs::read_to_string(&marker).is_ok_and(|built| built == digest) {
            return Ok(());
        }
        println!("building {} with its language's own tool", self.folder);
        let made = work.join(self.name).with_extension("wasm");
        match self.language {
            Language::Python => {
                let mut tool = Command::new(beside(python, "componentize-py"));
                tool.args(["--wit-path", "wit", "--world", "plugin", "componentize", "app", "--output"])
                    .arg(&made);
                quietly(tool.current_dir(&work))?;
            }
            Language::JavaScript => quietly(Command::new("node").arg("build.mjs").current_dir(&work))?,
        }
        let mut name = Command::new(binary);
        name.args(["plugin", "name"]).arg(&made).args([
            self.name,
            "0.1.0",
            "--description",
            self.description,
        ]);
        quietly(&mut name)?;
        fs::rename(&made, component)?;
        Ok(fs::write(marker, digest)?)
    }
}

impl Language {
    /// What says which versions of its tools there are.
    fn tools(self) -> Result<String> {
        let listing = match self {
            Self::Python => workspace().join("tests/requirements.txt"),
            Self::JavaScript => folder().join("installed.json"),
        };
        Ok(fs::read_to_string(listing)?)
    }
}

/// A program installed beside a Python.
fn beside(python: &Path, program: &str) -> PathBuf {
    python.with_file_name(program)
}

/// Runs a command and shows what it said only if it fails.
fn quietly(command: &mut Command) -> Result<()> {
    let output =
        command.output().with_context(|| format!("{} does not start", command.get_program().display()))?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{}: {}\n{out}{err}", command.get_program().display(), output.status);
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            // What an author's own build has left there.
            if !["node_modules", "wit", "__pycache__"].iter().any(|made| entry.file_name() == *made) {
                copy(&entry.path(), &to)?;
            }
        } else if entry.path().extension().is_none_or(|extension| extension != "wasm") {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Every file below `folder`, by name and content, in order.
fn digest_of(folder: &Path, digest: &mut Sha256) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        digest.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        if path.is_dir() {
            digest_of(&path, digest)?;
        } else {
            digest.update(fs::read(path)?);
        }
    }
    Ok(())
}
