//! Against a mail server that says what it is told to.

use bellwether_alerts::Email;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// Serves one connection: answers every line as `says` has it, nothing where that is nothing, and gives what it was sent.
async fn server(says: fn(&str) -> &'static str) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 mail.example ready\r\n").await.unwrap();
        let (mut lines, mut in_message) = (Vec::new(), false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return lines;
            }
            let line = line.trim_end_matches(['\r', '\n']).to_owned();
            if in_message && line != "." {
                lines.push(line);
                continue;
            }
            let answer = says(&line);
            in_message = line == "DATA" && answer.starts_with('3');
            lines.push(line);
            if answer.is_empty() {
                continue;
            }
            stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
        }
    });
    (port, served)
}

fn usual(line: &str) -> &'static str {
    match line {
        line if line.starts_with("EHLO") => "250-mail.example\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME",
        line if line.starts_with("AUTH") => "235 welcome",
        "DATA" => "354 go on",
        line if line.contains("<busy@") => "450 later",
        line if line.contains("<gone@") => "550 5.1.1 no such user",
        "QUIT" => "221 bye",
        _ => "250 fine",
    }
}

fn mailer(port: u16, credentials: Option<(&str, &str)>) -> SmtpMailer {
    SmtpMailer::new(MailSettings {
        server: "127.0.0.1".to_owned(),
        port: Some(port),
        security: Security::None,
        credentials: credentials.map(|(user, password)| (user.to_owned(), password.to_owned())),
        from: "Bellwether <alerts@acme.example>".to_owned(),
        trusted: None,
    })
    .unwrap()
}

fn letter(to: &[&str], done: &[&str]) -> Letter {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Letter {
        email: Email {
            to: own(to),
            cc: own(&["Copy <copy@acme.example>"]),
            reply_to: Some("ops@acme.example".to_owned()),
            subject: "Größer".to_owned(),
            text: "the text".to_owned(),
            html: Some("<p>the text</p>".to_owned()),
        },
        message_id: "i.c.1@acme.example".to_owned(),
        references: vec!["i.c@acme.example".to_owned()],
        done: own(done),
    }
}

#[tokio::test]
async fn each_recipient_is_told_apart_and_the_message_carries_the_hosts_headers() {
    let (port, served) = server(usual).await;
    let mailer = mailer(port, Some(("me", "hush-hush")));
    assert_eq!(mailer.domain(), "acme.example");
    let letter = letter(
        &["a@acme.example", "busy@acme.example", "gone@acme.example", "had@acme.example"],
        &["had@acme.example"],
    );
    let posted = mailer.post(&letter).await.unwrap();
    assert_eq!(posted.accepted, ["a@acme.example", "Copy <copy@acme.example>"]);
    assert_eq!((posted.refused[0].address.as_str(), posted.refused[0].code), ("gone@acme.example", 550));
    assert!(posted.refused[0].reply.contains("no such user"), "{posted:?}");
    assert_eq!(posted.deferred.len(), 1);
    assert_eq!(posted.deferred[0].0, "busy@acme.example");
    let lines = served.await.unwrap();
    let sent = lines.join("\n");
    for expected in [
        "MAIL FROM:<alerts@acme.example>",
        "RCPT TO:<copy@acme.example>",
        "Message-ID: <i.c.1@acme.example>",
        "References: <i.c@acme.example>",
        "In-Reply-To: <i.c@acme.example>",
        "Auto-Submitted: auto-generated",
        "Reply-To: ops@acme.example",
        "multipart/alternative",
        "text/plain; charset=utf-8",
        "<p>the text</p>",
    ] {
        assert!(sent.contains(expected), "{expected}: {sent}");
    }
    assert!(!lines.iter().any(|line| line.contains("RCPT TO:<had@")), "it has it already: {sent}");
}

#[tokio::test]
async fn a_sender_beyond_ascii_is_announced_to_a_server_that_takes_one() {
    let says = |line: &str| match line {
        line if line.starts_with("EHLO") => "250-mail.example\r\n250-SMTPUTF8\r\n250 8BITMIME",
        line => usual(line),
    };
    let (port, served) = server(says).await;
    let from = sender("Bellwether <größe@acme.example>").unwrap();
    let mailer = SmtpMailer { from, ..mailer(port, None) };
    mailer.post(&letter(&["a@acme.example"], &[])).await.unwrap();
    let lines = served.await.unwrap();
    let announced = "MAIL FROM:<größe@acme.example> SMTPUTF8";
    assert!(lines.iter().any(|line| line == announced), "{lines:?}");
}

#[tokio::test]
async fn what_the_server_says_to_the_whole_is_for_good_or_for_now_by_its_code() {
    for (answer, refused) in [("552 too large", true), ("451 later", false)] {
        let says: fn(&str) -> &'static str = match refused {
            true => |line| if line == "." { "552 too large" } else { usual(line) },
            false => |line| if line == "." { "451 later" } else { usual(line) },
        };
        let (port, _served) = server(says).await;
        let error = mailer(port, None).post(&letter(&["a@acme.example"], &[])).await.unwrap_err();
        assert_eq!(matches!(error, SendError::Refused(_)), refused, "{answer}: {error}");
        assert!(error.to_string().contains(&answer[4..]), "{error}");
    }
}

#[tokio::test]
async fn a_password_that_is_refused_is_in_no_error_and_nothing_goes_out_without_tls_that_is_wanted() {
    let says = |line: &str| match line {
        line if line.starts_with("AUTH") => "535 not aHVzaC1odXNo nor hush-hush",
        line => usual(line),
    };
    let (port, _served) = server(says).await;
    let error = mailer(port, Some(("me", "hush-hush"))).post(&letter(&["a@acme.example"], &[])).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("535") && !error.contains("hush"), "{error}");

    let (port, served) = server(usual).await;
    let settings = MailSettings {
        server: "127.0.0.1".to_owned(),
        port: Some(port),
        security: Security::Starttls,
        credentials: None,
        from: "alerts@acme.example".to_owned(),
        trusted: None,
    };
    let error = SmtpMailer::new(settings).unwrap().post(&letter(&["a@acme.example"], &[])).await.unwrap_err();
    assert!(error.to_string().contains("offers no STARTTLS"), "{error}");
    assert!(!served.await.unwrap().iter().any(|line| line.starts_with("MAIL")));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = mailer(port, None).post(&letter(&["a@acme.example"], &[])).await.unwrap_err();
    assert!(matches!(error, SendError::Lost(_)), "{error}");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_waited_for_as_long_as_for_one_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (deaf, _served) = server(|line| if line.starts_with("RCPT") { "" } else { usual(line) }).await;
    for port in [silent.local_addr().unwrap().port(), deaf] {
        let mailer = SmtpMailer { answer: Duration::from_millis(300), ..mailer(port, None) };
        let posted = tokio::time::timeout(END * 3, mailer.post(&letter(&["a@acme.example"], &[]))).await;
        let error = posted.expect("it gives up sooner").unwrap_err();
        assert!(matches!(&error, SendError::Lost(why) if why.contains("did not answer")), "{error}");
    }
}
