//! What leaves the host, and what does not.

use std::collections::HashMap;

use bellwether_access::Destination;
use bellwether_kernel::OrganisationId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn request(url: &str) -> Outgoing {
    Outgoing { method: "GET".into(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
}

fn granted(texts: &[&str]) -> Vec<Destination> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn outlet(texts: &[&str]) -> Outlet {
    Outlet::new(granted(texts))
}

/// Sends a request of a call of its own.
async fn send(outlet: &Outlet, request: Outgoing) -> Result<Incoming, EgressError> {
    Egress::default().send(outlet, &Spent::default(), request).await
}

/// Names as a test says they resolve, an unknown one to nothing.
struct Table(HashMap<&'static str, &'static str>);

impl Resolve for Table {
    fn resolve(&self, name: Name) -> Resolving {
        let address = self.0.get(name.as_str()).map(|text| SocketAddr::new(text.parse().unwrap(), 0));
        Box::pin(std::future::ready(Ok(Box::new(address.into_iter()) as Addrs)))
    }
}

/// Answers one connection with `answer` and gives what it received.
async fn serve_once(answer: &'static [u8]) -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = vec![0; 4096];
        let length = stream.read(&mut received).await.unwrap();
        received.truncate(length);
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        received
    });
    (port, served)
}

#[test]
fn a_request_outside_the_grant_is_never_prepared() {
    let granted = granted(&["https://api.example.com", "https://*"]);
    for url in [
        "http://api.example.com/",
        "https://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://localhost/",
        "https://169.254.169.254/",
    ] {
        assert!(matches!(prepare(&granted, request(url)), Err(EgressError::Forbidden(_))), "{url}");
    }
    assert!(prepare(&granted, request("https://api.example.com/x")).is_ok());
    assert!(matches!(prepare(&[], request("https://api.example.com/")), Err(EgressError::Forbidden(_))));
}

#[test]
fn what_is_no_request_is_told_apart_from_what_is_forbidden() {
    let granted = granted(&["https://*"]);
    let with = |change: fn(&mut Outgoing)| {
        let mut request = request("https://api.example.com/");
        change(&mut request);
        prepare(&granted, request).map(drop)
    };
    for (what, change) in [
        ("method", (|request| request.method = "GE T".into()) as fn(&mut Outgoing)),
        ("CONNECT", |request| request.method = "CONNECT".into()),
        ("relative", |request| request.url = "/x".into()),
        ("scheme", |request| request.url = "file:///etc/passwd".into()),
        ("credentials", |request| request.url = "https://a:b@api.example.com/".into()),
        ("header name", |request| request.headers.push(("a b".into(), "c".into()))),
        ("header value", |request| request.headers.push(("a".into(), "b\r\nc: d".into()))),
        ("reserved header", |request| request.headers.push(("Host".into(), "internal".into()))),
        ("too many headers", |request| request.headers = vec![("a".into(), "b".into()); 101]),
    ] {
        assert!(matches!(with(change), Err(EgressError::Invalid(_))), "{what}");
    }
}

#[test]
fn no_error_repeats_a_url_which_may_hold_credentials() {
    let granted = granted(&["https://*"]);
    for url in [
        "https://me:hunter2@[x/",
        "//hunter2",
        "ftp://me:hunter2@api.example.com/?key=hunter2",
        "https://me:hunter2@api.example.com/",
    ] {
        let told = format!("{:?}", prepare(&granted, request(url)).unwrap_err());
        assert!(!told.contains("hunter2"), "{told}");
    }
    for (url, expected) in [
        ("ftp://api.example.com/", "the URL begins with \"ftp\", expected http or https"),
        ("/x", "the URL is not an absolute one: relative URL without a base"),
    ] {
        let told = prepare(&granted, request(url)).unwrap_err();
        assert!(matches!(&told, EgressError::Invalid(why) if why == expected), "{told:?}");
    }
}

#[test]
fn a_name_leads_to_public_addresses_only_and_localhost_to_itself() {
    let addresses: Vec<SocketAddr> = ["8.8.8.8:0", "10.0.0.1:0", "127.0.0.1:0", "[::1]:0", "[fd00::1]:0"]
        .map(|text| text.parse().unwrap())
        .into();
    assert_eq!(permitted("rebound.example.com", &addresses), ["8.8.8.8:0".parse().unwrap()]);
    assert_eq!(
        permitted("localhost", &addresses),
        ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]
    );
}

#[tokio::test]
async fn an_answer_comes_back_and_a_redirect_is_one() {
    let answer = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 2\r\n\r\nhi";
    let (port, served) = serve_once(answer).await;
    let mut request = request(&format!("http://127.0.0.1:{port}/a?b=c"));
    request.method = "POST".into();
    request.headers.push(("X-Test".into(), "yes".into()));
    request.body = b"body".to_vec();
    let grant = outlet(&[&format!("http://127.0.0.1:{port}")]);
    let answer = send(&grant, request).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (302, &b"hi"[..]));
    assert!(answer.headers.contains(&("location".into(), "http://169.254.169.254/".into())));
    let received = String::from_utf8(served.await.unwrap()).unwrap();
    assert!(
        received.starts_with("POST /a?b=c HTTP/1.1\r\n") && received.contains("x-test: yes"),
        "{received}"
    );
}

#[tokio::test]
async fn localhost_is_reached_when_granted_by_name() {
    let (port, _served) = serve_once(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let grant = outlet(&[&format!("http://localhost:{port}")]);
    let answer = send(&grant, request(&format!("http://localhost:{port}/"))).await.unwrap();
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_whether_announced_or_not() {
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n";
    let (port, _served) = serve_once(announced).await;
    let grant = outlet(&[&format!("http://127.0.0.1:{port}")]);
    let refused = send(&grant, request(&format!("http://127.0.0.1:{port}/"))).await;
    assert!(matches!(refused, Err(EgressError::TooLarge(_))), "{refused:?}");

    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(limits::HTTP_ANSWER + 100, b'x');
    let (port, _served) = serve_once(endless.leak()).await;
    let grant = outlet(&[&format!("http://127.0.0.1:{port}")]);
    let refused = send(&grant, request(&format!("http://127.0.0.1:{port}/"))).await;
    assert!(matches!(refused, Err(EgressError::TooLarge(_))), "{refused:?}");
}

#[tokio::test]
async fn a_connection_that_is_cut_before_an_answer_is_said_to_be_in_plain_words() {
    for answer in [&b""[..], b"HTTP/1.1 20"] {
        let (port, server) = serve_once(answer).await;
        let url = format!("http://127.0.0.1:{port}/");
        let grant = outlet(&[&format!("http://127.0.0.1:{port}")]);
        let refused = send(&grant, request(&url)).await.unwrap_err();
        let expected = "the connection was closed before an answer came".to_owned();
        assert_eq!(refused, EgressError::Connection(expected));
        server.await.unwrap();
    }
}

#[tokio::test]
async fn nobody_there_and_nobody_answering_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let grant = outlet(&[&format!("http://127.0.0.1:{port}")]);
    let mut silent = request(&format!("http://127.0.0.1:{port}/"));
    silent.timeout = Some(Duration::from_millis(50));
    assert_eq!(send(&grant, silent).await.unwrap_err(), EgressError::Timeout);
    drop(listener);
    let gone = send(&grant, request(&format!("http://127.0.0.1:{port}/"))).await;
    assert!(matches!(gone, Err(EgressError::Connection(_))), "{gone:?}");
}

#[test]
fn a_method_outside_the_grant_is_refused_however_it_is_said() {
    let granted = granted(&["GET+POST https://api.example.com", "https://open.example.com"]);
    let with = |method: &str, host: &str, header: Option<(&str, &str)>| {
        let mut request = request(&format!("https://{host}.example.com/"));
        request.method = method.into();
        request.headers.extend(header.map(|(name, value)| (name.into(), value.into())));
        prepare(&granted, request).map(drop)
    };
    for method in ["GET", "POST"] {
        assert_eq!(with(method, "api", None), Ok(()));
    }
    let Err(EgressError::Forbidden(text)) = with("DELETE", "api", None) else { panic!() };
    assert_eq!(text, "the plugin's grant does not cover the method DELETE for https://api.example.com");
    for name in ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override"] {
        let refused = with("POST", "api", Some((name, "delete")));
        assert!(matches!(refused, Err(EgressError::Forbidden(_))), "{name}: {refused:?}");
        assert_eq!(with("POST", "api", Some((name, "GET"))), Ok(()));
        assert_eq!(with("POST", "open", Some((name, "DELETE"))), Ok(()));
    }
}

#[test]
fn what_is_sent_is_bounded() {
    let granted = granted(&["https://*"]);
    let with = |change: fn(&mut Outgoing)| {
        let mut request = request("https://api.example.com/");
        change(&mut request);
        prepare(&granted, request).map(drop)
    };
    assert_eq!(with(|request| request.body = vec![0; limits::HTTP_BODY]), Ok(()));
    let refused = with(|request| request.body = vec![0; limits::HTTP_BODY + 1]);
    assert!(matches!(refused, Err(EgressError::TooLarge(_))), "{refused:?}");
    for (what, change) in [
        ("URL", (|request| request.url.push_str(&"x".repeat(limits::HTTP_URL))) as fn(&mut Outgoing)),
        ("headers", |request| {
            request.headers.push(("x".into(), "y".repeat(limits::HTTP_HEADER_BYTES)));
        }),
    ] {
        assert!(
            matches!(with(change), Err(EgressError::Invalid(text)) if text.contains("at most")),
            "{what}"
        );
    }
}

/// The grant covers the names, and they are looked at again when they are connected: what a name leads to is its
/// owner's to say, and to change.
#[tokio::test]
async fn a_granted_name_that_leads_into_a_private_network_is_refused_when_it_is_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let names = [
        ("loopback.example.com", "127.0.0.1"),
        ("private.example.com", "10.0.0.1"),
        ("metadata.example.com", "169.254.169.254"),
        ("shared.example.com", "100.64.0.1"),
        ("mapped.example.com", "::ffff:127.0.0.1"),
        ("translated.example.com", "64:ff9b::7f00:1"),
        ("local.example.com", "fd00::1"),
        ("six.example.com", "::1"),
    ];
    let egress = Egress { names: Arc::new(Table(HashMap::from(names))), ..Egress::default() };
    let grant = outlet(&[&format!("http://*.example.com:{port}"), &format!("http://*:{port}")]);
    let spent = Spent::default();
    for (name, address) in names {
        let refused = egress.send(&grant, &spent, request(&format!("http://{name}:{port}/"))).await;
        let Err(EgressError::Forbidden(text)) = refused else { panic!("{name}: {refused:?}") };
        assert_eq!(
            text,
            format!("{name} leads to no public address; a private one must be granted by its address"),
            "{address}"
        );
    }
    let nobody = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await;
    assert!(nobody.is_err(), "nobody was connected");
}

#[tokio::test]
async fn a_redirect_is_held_against_the_grant_again() {
    for target in [
        "http://127.0.0.1:1/",
        "http://[::ffff:127.0.0.1]:1/",
        "http://localhost:1/",
        "http://169.254.169.254/",
    ] {
        let answer =
            format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        let (port, _served) = serve_once(answer.into_bytes().leak()).await;
        let grant = outlet(&[&format!("http://127.0.0.1:{port}"), "http://*", "http://*:1"]);
        let answer = send(&grant, request(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
        let (_, location) = answer.headers.iter().find(|(name, _)| name == "location").unwrap();
        let followed = send(&grant, request(location)).await;
        assert!(matches!(followed, Err(EgressError::Forbidden(_))), "{target}: {followed:?}");
    }
}

#[tokio::test]
async fn a_call_sends_so_many_requests_and_bytes_and_no_more() {
    let spent = Spent::default();
    let grant = outlet(&["https://api.example.com"]);
    let egress = Egress::default();
    for _ in 0..limits::HTTP_REQUESTS {
        let refused = egress.send(&grant, &spent, request("https://other.example.com/")).await;
        assert!(matches!(refused, Err(EgressError::Forbidden(_))));
    }
    let refused = egress.send(&grant, &spent, request("https://other.example.com/")).await;
    assert!(
        matches!(&refused, Err(EgressError::Budget(text)) if text.contains("100 requests")),
        "{refused:?}"
    );

    let spent = Spent::default();
    for _ in 0..limits::HTTP_BYTES / limits::HTTP_BODY {
        spent.bytes(limits::HTTP_BODY).unwrap();
    }
    assert!(matches!(spent.bytes(1), Err(EgressError::Budget(text)) if text.contains("32 MiB")));
}

#[tokio::test]
async fn a_plugin_has_so_many_requests_on_their_way_and_one_organisation_leaves_some_to_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let grant = Arc::new(outlet(&[&format!("http://127.0.0.1:{port}")]));
    let egress = Arc::new(Egress::default());
    let url = format!("http://127.0.0.1:{port}/");
    let spent = |organisation| Spent::of(Some(OrganisationId(organisation)));
    let mut connected = Vec::new();
    let mut hanging = Vec::new();
    let all = limits::HTTP_CONNECTIONS;
    let share = all - all / 4;
    let waiting = || {
        let mut request = request(&url);
        request.timeout = Some(Duration::from_millis(30));
        request
    };
    for (organisation, hangs, told) in [
        (1, share, format!("{share} requests of the plugin are on their way for this organisation, and")),
        (2, all - share, format!("{all} requests of the plugin are on their way, and no place came free")),
    ] {
        for _ in 0..hangs {
            let (egress, grant, request) = (Arc::clone(&egress), Arc::clone(&grant), request(&url));
            let spent = spent(organisation);
            hanging.push(tokio::spawn(async move { egress.send(&grant, &spent, request).await }));
            connected.push(listener.accept().await.unwrap());
        }
        let refused = egress.send(&grant, &spent(organisation), waiting()).await;
        assert!(
            matches!(&refused, Err(EgressError::Connection(text)) if text.starts_with(&told)),
            "{refused:?}"
        );
    }
    // Another plugin does not wait for this one.
    let other = outlet(&[&format!("http://127.0.0.1:{port}")]);
    assert_eq!(egress.send(&other, &spent(1), waiting()).await.unwrap_err(), EgressError::Timeout);
    drop(connected);
    for hanging in hanging {
        assert!(matches!(hanging.await.unwrap(), Err(EgressError::Connection(_))));
    }
}

#[tokio::test]
async fn a_delivery_goes_where_its_channel_goes_and_reads_no_more_than_twice_what_a_formatter_is_given() {
    let most = 2 * bellwether_alerts::limits::ANSWER;
    let size = 2 * most;
    let head = format!("HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: {size}\r\n\r\n");
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", server.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&vec![b'x'; size]).await;
    });
    let egress = Egress::default();
    let answer = egress.deliver(&granted(&[&origin]), request(&format!("{origin}/a"))).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (429, most));
    assert!(answer.headers.contains(&("retry-after".to_owned(), "7".to_owned())));
    for (hosts, url) in [
        (vec!["https://a.example"], "https://b.example/"),
        (vec!["POST https://a.example"], "https://a.example/"),
        (vec![], "https://a.example/"),
    ] {
        let refused = egress.deliver(&granted(&hosts), request(url)).await;
        let Err(EgressError::Forbidden(text)) = refused else { panic!("{url}: {refused:?}") };
        assert!(text.contains("the channel's hosts do not cover GET"), "{text}");
    }
}

#[tokio::test]
async fn a_delivery_that_was_taken_is_not_lost_with_the_rest_of_its_answer() {
    for (status, taken) in [("200 OK", true), ("500 Internal Server Error", false)] {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 1000\r\n\r\nhal");
        let (port, _) = serve_once(answer.leak().as_bytes()).await;
        let origin = format!("http://127.0.0.1:{port}");
        let came = Egress::default().deliver(&granted(&[&origin]), request(&origin)).await;
        match (came, taken) {
            (Ok(Incoming { status: 200, body, .. }), true) => assert_eq!(body, b"hal"),
            (Err(EgressError::Connection(_)), false) => {}
            (came, _) => panic!("{status}: {came:?}"),
        }
    }
}

#[tokio::test]
async fn a_delivery_is_not_led_into_the_hosts_own_network() {
    let names = Arc::new(Table(HashMap::from([("inside.example", "10.0.0.1")])));
    let egress = Egress { names, ..Egress::default() };
    let hosts = granted(&["http://inside.example"]);
    let refused = egress.deliver(&hosts, request("http://inside.example/")).await;
    assert!(matches!(refused, Err(EgressError::Forbidden(_))), "{refused:?}");
}

#[tokio::test]
async fn only_an_organisations_plugins_and_channels_are_held_to_the_operators_private_networks() {
    let egress = Egress::default();
    egress.private.keep_to(Vec::new());
    let (port, _served) = serve_once(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let origin = format!("http://127.0.0.1:{port}");
    let mut grant = outlet(&[&origin]);
    grant.give_to_organisation();
    let spent = Spent::default();
    for refused in [
        egress.send(&grant, &spent, request(&origin)).await,
        egress.deliver(&granted(&[&origin]), request(&origin)).await,
    ] {
        let Err(EgressError::Forbidden(text)) = refused else { panic!("{refused:?}") };
        assert!(text.starts_with("127.0.0.1 lies in no network of egress.private_networks"), "{text}");
    }
    let granted_by_the_operator = outlet(&[&origin]);
    assert_eq!(egress.send(&granted_by_the_operator, &spent, request(&origin)).await.unwrap().status, 200);
}
