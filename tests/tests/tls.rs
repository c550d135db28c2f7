//! TLS: what a command says of a certificate it does not trust and how it is told to, and a certificate that is renewed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bellwether_tests::{Host, binary};

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
fn a_file_a_host_would_not_start_with_is_refused_by_config_too_with_its_setting() -> Result<()> {
    let folder = tempfile::tempdir()?;
    certificate(folder.path(), "own", false)?;
    certificate(folder.path(), "other", false)?;
    let email = "[email]\nserver = \"mail.example.com\"\nfrom = \"a@example.com\"\n";
    for (text, setting, why) in [
        ("[tls]\ncertificate = \"own.pem\"\nkey = \"other.key\"\n", "tls.key", "own.pem was made for"),
        ("[tls]\ncertificate = \"own.pem\"\nkey = \"none.key\"\n", "tls.key", "No such file"),
        ("[tls]\ncertificate = \"own.pem\"\nkey = \"own.pem\"\n", "tls.key", "a private key"),
        ("[tls]\ncertificate = \"own.key\"\nkey = \"own.key\"\n", "tls.certificate", "it holds none"),
        (&format!("{email}user = \"me\"\npassword_file = \"none\"\n"), "email.password_file", "No such file"),
        (&format!("{email}trusted_certificate = \"none\"\n"), "email.trusted_certificate", "No such file"),
    ] {
        std::fs::write(folder.path().join("settings.toml"), text)?;
        for name in ["config", "serve"] {
            let mut command = Command::new(binary());
            let output = command.current_dir(&folder).args([name, "--config", "settings.toml"]).output()?;
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(2), "{text}{errors}");
            for part in [setting, why, "settings.toml line"] {
                ensure!(errors.contains(part), "no {part} in {errors}");
            }
        }
        ensure!(!folder.path().join("bellwether-data").exists(), "a start that is refused leaves nothing");
    }
    Ok(())
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
    for part in ["own.pem", "own.key", "tls.key", "was made for"] {
        ensure!(log.contains(part), "no {part} in {log}");
    }
    let trusted = host.command(&host.keys().admin, &["metric", "list", "--ca", &ca])?;
    ensure!(trusted.status.success(), "{}", String::from_utf8_lossy(&trusted.stderr));
    let metrics =
        Command::new("curl").args(["-s", "--cacert", &ca, &format!("{}/metrics", host.url)]).output()?;
    let metrics = String::from_utf8_lossy(&metrics.stdout);
    ensure!(metrics.contains("\nbellwether_tls_certificate_outdated 1\n"), "{metrics}");
    host.stop()
}
