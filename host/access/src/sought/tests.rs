use proptest::prelude::*;

use super::*;

const MASK: &str = "•••";

fn masked(secrets: &Sought<()>, text: &str) -> String {
    secrets.replace(text, |_| MASK).into_owned()
}

#[test]
fn a_secret_is_masked_however_others_write_it() {
    let mut secrets = Sought::default();
    secrets.learn("s\"cret/1 2", &());
    for written in [
        "s\"cret/1 2",
        r#"s\"cret/1 2"#,
        r#"s\u0022cret\/1\u00202"#,
        "s%22cret%2F1%202",
        "s%22cret%2f1+2",
        "s%22cret/1%202",
        "s&quot;cret&#x2f;1 2",
        "s&#34;cret/1 2",
        "cyJjcmV0LzEgMg==",
        "cyJjcmV0LzEgMg",
        "cyJjcmV0LzEgMg%3D%3D",
    ] {
        assert_eq!(masked(&secrets, &format!("<{written}>")), "<•••>", "{written}");
    }
    for other in
        ["s\"cret/1", "s%22cret%2", "S\"CRET/1 2", "s&amp;cret/1 2", "\\u00", "%", "&#x;", "\\ud83d\\u"]
    {
        assert_eq!(masked(&secrets, other), other);
    }
    let mut secrets = Sought::default();
    secrets.learn("pä<&>😀'?>", &());
    for written in [
        r"p\u00e4<&>\ud83d\ude00'?>",
        r"p\u00E4\u003c\u0026\u003E\uD83D\uDE00\u0027?\u003e",
        "p%C3%A4%3C%26%3E%F0%9F%98%80%27%3F%3E",
        "p%c3%a4%3c%26%3e%f0%9f%98%80'%3f%3e",
        "pä&lt;&amp;&gt;😀&#x27;?&gt;",
        "p&#228;&lt;&amp;&gt;&#128512;&#39;?&gt;",
        "p&#xe4;&lt;&amp;&gt;&#X1F600;&apos;?&gt;",
        "cMOkPCY+8J+YgCc/Pg==",
        "cMOkPCY-8J-YgCc_Pg",
    ] {
        assert_eq!(masked(&secrets, &format!("<{written}>")), "<•••>", "{written}");
    }
}

/// How a character of a secret is written.
fn written(character: char, form: u8) -> String {
    let units = |upper: bool| {
        let mut buffer = [0; 2];
        let units = character.encode_utf16(&mut buffer).iter();
        units.map(|unit| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") }).collect()
    };
    let bytes = |upper: bool| {
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).bytes();
        bytes.map(|byte| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") }).collect()
    };
    match form {
        0 => character.to_string(),
        1 => units(false),
        2 => units(true),
        3 => bytes(false),
        4 => bytes(true),
        5 => format!("&#{};", u32::from(character)),
        6 => format!("&#x{:x};", u32::from(character)),
        7 if character == ' ' => "+".into(),
        7 => character.to_string(),
        _ => {
            let json = serde_json::Value::from(character.to_string()).to_string();
            json[1..json.len() - 1].to_owned()
        }
    }
}

proptest! {
    #[test]
    fn no_text_shows_a_secret_however_it_is_written(
        secret in "[a-c%&+/\\\\\"'<> é漢😀]{4,12}",
        forms in proptest::collection::vec(0u8..9, 12),
        mixed: bool,
        around in "[a-c%&+u0-4;\\\\\" ]{0,8}",
    ) {
        let mut secrets = Sought::default();
        secrets.learn(&secret, &());
        let form = |index: usize| if mixed { forms[index] } else { forms[0] };
        let shown: String =
            secret.chars().enumerate().map(|(index, character)| written(character, form(index))).collect();
        let masked = masked(&secrets, &format!("{around}{shown}{around}"));
        prop_assert!(masked.contains(MASK), "{masked}");
        prop_assert!(!masked.contains(&shown) || around.contains(&shown), "{masked}");
    }
}

#[test]
fn secrets_that_overlap_are_shown_as_the_one_that_reaches_farthest() {
    let mut secrets = Sought::default();
    for secret in ["pass", "passphrase", "erase"] {
        secrets.learn(secret, &secret);
    }
    let shown = |text| secrets.replace(text, |secret| format!("<{}>", secret.unwrap())).into_owned();
    assert_eq!(shown("a passphrase, a pass, passphraserase"), "a <passphrase>, a <pass>, <erase>");
}
