//! The files that settings name. They are read before anything is opened, so that what is wrong with one is told by its
//! setting, and `bellwether config` can tell it too.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellwether_alerts::Mailer;
use bellwether_kernel::FieldError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, ServerConfig};

use crate::settings::{Email, EmailSecurity, Settings, Tls};

/// What they hold.
pub(crate) struct Files {
    /// What TLS is spoken with, if it is set.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// What sends e-mail, where the settings name a server.
    pub(super) mailer: Option<Arc<dyn Mailer>>,
}

impl Files {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong with each, by its setting.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Vec<FieldError>> {
        match (tls(&settings.tls), mailer(&settings.email)) {
            (Ok(tls), Ok(mailer)) => Ok(Self { tls, mailer }),
            (tls, mailer) => Err(tls.err().into_iter().chain(mailer.err()).collect()),
        }
    }
}

/// The certificate and its key.
pub(super) fn tls(settings: &Tls) -> Result<Option<Arc<ServerConfig>>, FieldError> {
    let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else { return Ok(None) };
    let wrong_key = |expected: String| FieldError::new("tls.key", key.display(), expected);
    let chain = certificates("tls.certificate", certificate, &read("tls.certificate", certificate)?)?;
    let private = PrivateKeyDer::from_pem_slice(&read("tls.key", key)?)
        .map_err(|error| wrong_key(format!("a file with a private key, PEM ({error})")))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
    let mut config = config.map_err(|error| match error {
        Error::InvalidCertificate(error) => wrong_certificate("tls.certificate", certificate, &error),
        Error::InconsistentKeys(_) => {
            wrong_key(format!("the key that the certificate {} was made for", certificate.display()))
        }
        error => wrong_key(format!("a private key of a kind that signs ({error})")),
    })?;
    config.alpn_protocols = ["h2", "http/1.1"].map(Into::into).into();
    Ok(Some(Arc::new(config)))
}

fn mailer(settings: &Email) -> Result<Option<Arc<dyn Mailer>>, FieldError> {
    let (Some(server), Some(from)) = (&settings.server, &settings.from) else { return Ok(None) };
    let credentials = match (&settings.user, &settings.password_file) {
        (Some(user), Some(file)) => {
            let password = String::from_utf8(read("email.password_file", file)?);
            let password = password.map_err(|_| {
                FieldError::new("email.password_file", file.display(), "a file with a password, as text")
            })?;
            Some((user.clone(), password.trim_end_matches(['\r', '\n']).to_owned()))
        }
        _ => None,
    };
    let trusted = |file: &PathBuf| {
        let pem = read("email.trusted_certificate", file)?;
        // Of a file without one nothing would be trusted, and nobody told.
        certificates("email.trusted_certificate", file, &pem).map(|_| pem)
    };
    let mailer = bellwether_mail::SmtpMailer::new(bellwether_mail::MailSettings {
        server: server.clone(),
        port: settings.port,
        security: match settings.security {
            EmailSecurity::Tls => bellwether_mail::Security::Tls,
            EmailSecurity::Starttls => bellwether_mail::Security::Starttls,
            EmailSecurity::None => bellwether_mail::Security::None,
        },
        credentials,
        from: from.clone(),
        trusted: settings.trusted_certificate.as_ref().map(trusted).transpose()?,
    })?;
    Ok(Some(Arc::new(mailer)))
}

/// The certificates of a file, at least one.
fn certificates(setting: &str, file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FieldError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| wrong_certificate(setting, file, &error))?;
    if found.is_empty() {
        return Err(wrong_certificate(setting, file, &"it holds none"));
    }
    Ok(found)
}

fn wrong_certificate(setting: &str, file: &Path, error: &dyn Display) -> FieldError {
    let expected = format!("a file with a certificate, PEM with -----BEGIN CERTIFICATE----- ({error})");
    FieldError::new(setting, file.display(), expected)
}

fn read(setting: &str, file: &Path) -> Result<Vec<u8>, FieldError> {
    fs::read(file).map_err(|error| {
        FieldError::new(setting, file.display(), format!("a file this user can read ({error})"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_read_is_told_by_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let (none, other) = (folder.path().join("none"), folder.path().join("other"));
        fs::write(&other, "no PEM, \u{e9}").unwrap();
        let tls = |certificate: &Path| Settings {
            tls: Tls { certificate: Some(certificate.to_owned()), key: Some(none.clone()) },
            ..Settings::default()
        };
        let email = |password: &Path, trusted: Option<&Path>| {
            let mut settings = Settings::default();
            settings.email.server = Some("mail.example.com".to_owned());
            settings.email.from = Some("alerts@example.com".to_owned());
            settings.email.user = Some("me".to_owned());
            settings.email.password_file = Some(password.to_owned());
            settings.email.trusted_certificate = trusted.map(Path::to_owned);
            settings
        };
        for (settings, field, why) in [
            (tls(&none), "tls.certificate", "No such file"),
            (tls(&other), "tls.certificate", "it holds none"),
            (email(&none, None), "email.password_file", "No such file"),
            (email(&other, Some(&none)), "email.trusted_certificate", "No such file"),
            (email(&other, Some(&other)), "email.trusted_certificate", "it holds none"),
        ] {
            let wrong = Files::read(&settings).map(drop).unwrap_err();
            assert_eq!(wrong.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), [field]);
            assert!(wrong[0].expected.contains(why), "{}", wrong[0]);
        }
    }
}
