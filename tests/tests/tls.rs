//! TLS: what a command says of a certificate it does not trust and how it is told to, and a certificate that is renewed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bellwether_tests::Host;

/// Makes `NAME.pem` and `NAME.key` in `folder`: a certificate for 127.0.0.1 that signs itself, as an authority or not.
fn certificate(folder: &Path, name: &str, is_authority: bool) -> Result<()> {
    let constraints = format!("basicConstraints=critical,CA:{}", if is_authority { "TRUE" } else { "FALSE" });
    let mut command = Command::new("openssl");
    command.current_dir(folder).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]);
    command.args([
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=bellwether",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]);
    command.args(["-addext", &constraints]);
    command.args(["-out", &format!("{name}.pem"), "-keyout", &format!("{name}.key")]);
    let output = command.output().context("openssl makes certificates")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A host in `folder` that shows `NAME.pem`.
fn start(folder: &Path, name: &str) -> Result<Host> {
    let path = |ending: &str| folder.join(format!("{name}.{ending}")).display().to_string();
    let arguments = ["--tls-certificate", &path("pem"), "--tls-key", &path("key")];
    Host::start(&folder.join("data"), &arguments)
}

#[test]
fn a_command_trusts_a_certificate_that_it_is_told_to() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    certificate(folder.path(), "own", false)?;
    certificate(folder.path(), "other", false)?;
    let host = start(folder.path(), "own")?;
    let admin = host.keys().admin.clone();
    let ask = |more: &[&str]| host.command(&admin, &[&["metric", "list"], more].concat());

    let refused = ask(&[])?;
    let errors = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(3) && errors.contains("--ca"), "{errors}");
    let trusted = ask(&["--ca", &path("own.pem")])?;
    ensure!(trusted.status.success(), "{}", String::from_utf8_lossy(&trusted.stderr));
    let refused = ask(&["--ca", &path("other.pem")])?;
    ensure!(refused.status.code() == Some(3), "another's certificate is no reason to trust this one");
    for wrong in ["own.key", "none.pem"] {
        let refused = ask(&["--ca", &path(wrong)])?;
        let errors = String::from_utf8_lossy(&refused.stderr);
        ensure!(refused.status.code() == Some(2) && errors.contains(wrong), "{errors}");
    }
    host.stop()
}

#[test]
fn an_authority_s_own_certificate_is_told_apart_from_one_that_is_not_trusted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificate(folder.path(), "authority", true)?;
    let host = start(folder.path(), "authority")?;
    let file = folder.path().join("authority.pem").display().to_string();
    let refused = host.command(&host.keys().admin, &["metric", "list", "--ca", &file])?;
    let errors = String::from_utf8_lossy(&refused.stderr);
    ensure!(errors.contains("CA:FALSE"), "{errors}");
    host.stop()
}

#[test]
fn a_key_that_does_not_fit_its_certificate_is_named_and_the_pair_before_stays() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    certificate(folder.path(), "own", false)?;
    certificate(folder.path(), "other", false)?;
    let host = start(folder.path(), "own")?;
    let ca = path("ca.pem").display().to_string();
    std::fs::copy(path("own.pem"), &ca)?;
    std::fs::copy(path("other.key"), path("own.key"))?;
    Command::new("kill").args(["-HUP", &host.id().to_string()]).status()?;
    let asked = Instant::now();
    let log = loop {
        let log = std::fs::read_to_string(path("data.log"))?;
        if log.contains("the certificate stays") || asked.elapsed() > Duration::from_secs(10) {
            break log;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    for part in ["own.pem", "own.key", "not the one the certificate was made for"] {
        ensure!(log.contains(part), "no {part} in {log}");
    }
    let trusted = host.command(&host.keys().admin, &["metric", "list", "--ca", &ca])?;
    ensure!(trusted.status.success(), "{}", String::from_utf8_lossy(&trusted.stderr));
    host.stop()
}
