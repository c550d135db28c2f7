//! A form in parts, as clients send it that think of files too: RFC 7578.

/// The fields of a form, by the value of its `Content-Type`; none of what is no such form. A file is no field, and a part
/// that breaks off is none.
pub(crate) fn fields(content_type: &str, body: &[u8]) -> Vec<(String, String)> {
    let is_form = content_type.get(..FORM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(FORM));
    let Some(boundary) = parameter(content_type, "boundary").filter(|_| is_form) else {
        return Vec::new();
    };
    // Each part is between two delimiters, which begin lines; the first line has nothing before it.
    let text = format!("\r\n{}", String::from_utf8_lossy(body));
    let mut parts: Vec<&str> = text.split(&format!("\r\n--{boundary}")).skip(1).collect();
    parts.pop();
    parts.into_iter().take_while(|part| !part.starts_with("--")).filter_map(field).collect()
}

const FORM: &str = "multipart/form-data";

/// The name and the value of a part.
fn field(part: &str) -> Option<(String, String)> {
    let (headers, value) = part.split_once("\r\n\r\n")?;
    let disposition = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let name = parameter(disposition, "name")?;
    parameter(disposition, "filename").is_none().then(|| (name.to_owned(), value.to_owned()))
}

/// A parameter of a header's value, without its quotes: `query` of `form-data; name="query"`.
fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|pair| {
        let (own, value) = pair.split_once('=')?;
        own.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, body: &str) -> Vec<(String, String)> {
        fields(content_type, body.as_bytes())
    }

    #[test]
    fn a_part_is_a_field_byte_for_byte() {
        let body = "before\r\n--x\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nup{a=\"b\"}\r\n+ 1\r\n\
            --x\r\ncontent-type: text/plain\r\ncontent-disposition: form-data; name=match[]\r\n\r\n\r\n\
            --x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\na file\r\n--x--\r\nbehind";
        let expected = [("query", "up{a=\"b\"}\r\n+ 1"), ("match[]", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for content_type in ["multipart/form-data; boundary=x", "Multipart/Form-Data; a=b; boundary=\"x\""] {
            assert_eq!(read(content_type, body), expected, "{content_type}");
        }
    }

    #[test]
    fn what_is_no_form_in_parts_has_no_fields() {
        let form = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--\r\n";
        for (content_type, body) in [
            ("", form),
            ("multipart/form-data", form),
            ("multipart/mixed; boundary=x", form),
            ("multipart/form-data; boundary=y", form),
            ("multipart/form-data; boundary=x", ""),
            ("multipart/form-data; boundary=x", &form[..form.len() - 6]),
            ("multipart/form-data; boundary=x", "--x--\r\n\r\n--x\r\n\r\nb\r\n--x--"),
            ("multipart/form-data; boundary=x", "--x\r\nContent-Type: text/plain\r\n\r\nb\r\n--x--"),
        ] {
            assert_eq!(read(content_type, body), [], "{content_type}: {body:?}");
        }
    }
}
