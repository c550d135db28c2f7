"""Holds what the bundled formatters send against the channels' own clients, emulators and documented limits.

Takes a JSON file: by channel, by notification, the steps of a rehearsed exchange. Prints a line for each channel.
PagerDuty, Opsgenie, Mattermost, Telegram, TamTam, ServiceNow publish their limits as documentation: they are the JSON
schemas below. Slack's are checked by slack_sdk's models, SNS by moto (signatures included), Salesforce by what
simple-salesforce sends for the same case, e-mail by a mail server, signatures of webhooks by standardwebhooks.
"""

import base64
import hashlib
import hmac
import json
import re
import sys
import time
from email.message import EmailMessage
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

from jsonschema import Draft202012Validator, FormatChecker

SECRET = re.compile("‹secret (\\w+)(?: as (\\w+))?›")
NOW = int(time.time())
SECRETS = {"signing_secret": "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()}


def filled_in(text):
    """The text with secrets and times in their places."""

    def secret(match):
        value = SECRETS.get(match[1], "kept")
        return json.dumps(value) if match[2] == "json" else value

    text = SECRET.sub(secret, text)
    return text.replace("‹now as unix-seconds›", str(NOW))


def requests(exchanges):
    """Each request, with the notification it is of."""
    for name, steps in exchanges.items():
        for step in steps:
            if "send" in step:
                yield name, step["send"]["outgoing"].get("http")


def bodies(exchanges):
    """Each request that has a body of JSON, and that body."""
    for name, request in requests(exchanges):
        if request["body"]:
            yield name, request, json.loads(filled_in(request["body"]))


def header(request, name):
    values = [filled_in(header["value"]) for header in request["headers"] if header["name"].lower() == name]
    assert len(values) <= 1, f"{name} twice: {request['headers']}"
    return values[0] if values else None


def text(most, least=1):
    return {"type": "string", "minLength": least, "maxLength": most}


def record(required, **properties):
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def hold(schema, body, name):
    errors = list(Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(body))
    assert not errors, f"{name}: {errors[0].json_path}: {errors[0].message[:300]}"


def utf16(text):
    return len(text.encode("utf-16-le")) // 2


HTTPS = {"type": "string", "pattern": "^https?://[!-~]+$", "maxLength": 2048}


# Slack ---------------------------------------------------------------------------------------------------------------


def slack(exchanges):
    from slack_sdk.models.blocks import Block

    count = 0
    for name, request, body in bodies(exchanges):
        assert utf16(body["text"]) <= 40_000 and body["text"], name
        lists = [body["blocks"]] + [attachment["blocks"] for attachment in body["attachments"]]
        assert len(body["attachments"]) <= 100, name
        for blocks in lists:
            assert len(blocks) <= 50, f"{name}: {len(blocks)} blocks"
            parsed = Block.parse_all(blocks)
            assert len(parsed) == len(blocks), f"{name}: slack_sdk does not know a block"
            for block in parsed:
                block.validate_json()
                count += 1
        # The headline's block is plain text, which is not read for calls.
        marked = json.dumps([body["text"], body["attachments"]])
        assert "<!channel>" not in marked, f"{name} calls the channel"
    return f"{count} blocks"


def slackapp(exchanges):
    methods = [urlsplit(request["url"]).path for _, request in requests(exchanges)]
    assert methods[:3] == ["/api/chat.postMessage", "/api/chat.update", "/api/chat.update"], methods
    for name, request, body in bodies(exchanges):
        assert header(request, "authorization") == "Bearer kept", name
        assert body["channel"] and ("ts" in body) == request["url"].endswith("chat.update"), name
    return slack(exchanges)


# PagerDuty, Opsgenie, Mattermost -------------------------------------------------------------------------------------


def pagerduty(exchanges):
    link = record(["href"], href=HTTPS, text=text(1024))
    payload = record(
        ["summary", "source", "severity"],
        summary=text(1024),
        source=text(1024),
        severity={"enum": ["critical", "error", "warning", "info"]},
        timestamp={"type": "string", "format": "date-time"},
        custom_details={"type": "object"},
        component=text(1024),
        group=text(1024),
        **{"class": text(1024)},
    )
    event = record(
        ["routing_key", "event_action", "dedup_key"],
        routing_key=text(255),
        event_action={"enum": ["trigger", "acknowledge", "resolve"]},
        dedup_key=text(255),
        payload=payload,
        client=text(1024),
        client_url=HTTPS,
        links={"type": "array", "items": link},
        images={
            "type": "array",
            "items": record(["src"], src={"type": "string", "pattern": "^https://"}, href=HTTPS, alt={"type": "string"}),
        },
    )
    actions = []
    for name, request, body in bodies(exchanges):
        hold(event, body, name)
        assert len(request["body"].encode()) <= 512_000, name
        assert ("payload" in body) >= (body["event_action"] == "trigger"), name
        actions.append(body["event_action"])
    assert actions[:5] == ["trigger", "trigger", "resolve", "trigger", "resolve"], actions
    return f"{len(actions)} events"


def opsgenie(exchanges):
    create = record(
        ["message", "alias"],
        message=text(130),
        alias=text(512),
        description=text(15_000, 0),
        responders={"type": "array", "maxItems": 50},
        tags={"type": "array", "maxItems": 20, "items": text(50)},
        details={"type": "object", "additionalProperties": {"type": "string"}},
        entity=text(512),
        source=text(100),
        priority={"enum": ["P1", "P2", "P3", "P4", "P5"]},
        note=text(25_000),
        user=text(100),
    )
    note = record([], source=text(100), note=text(25_000), user=text(100))
    parts = {
        "message": record(["message"], message=text(130)),
        "description": record(["description"], description=text(15_000, 0)),
        "priority": record(["priority"], priority=create["properties"]["priority"]),
        "close": note,
        "acknowledge": note,
    }
    order = []
    for name, request, body in bodies(exchanges):
        url = urlsplit(request["url"])
        part = url.path.rsplit("/", 1)[1]
        assert header(request, "authorization") == "GenieKey kept", name
        if part == "alerts":
            hold(create, body, name)
            assert sum(len(key) + len(value) for key, value in body["details"].items()) <= 8_000, name
        else:
            assert parse_qs(url.query) == {"identifierType": ["alias"]}, request["url"]
            hold(parts[part], body, name)
        order.append(part)
    assert order[:6] == ["alerts", "alerts", "message", "description", "priority", "close"], order
    return f"{len(order)} requests"


def mattermost(exchanges):
    field = record(["title", "value"], short={"type": "boolean"}, title={"type": "string"}, value={"type": "string"})
    attachment = record(
        ["fallback"],
        fallback={"type": "string"},
        color={"type": "string", "pattern": "^#[0-9a-f]{6}$"},
        title={"type": "string"},
        title_link=HTTPS,
        text={"type": "string"},
        fields={"type": "array", "items": field},
    )
    post = record(
        ["text", "attachments"],
        text=text(16_383),
        channel=text(64),
        username=text(64),
        icon_url=HTTPS,
        attachments={"type": "array", "items": attachment},
        priority=record(["priority"], priority={"enum": ["important", "urgent"]}),
    )
    count = 0
    for name, request, body in bodies(exchanges):
        hold(post, body, name)
        assert len(request["body"]) <= 16_383, f"{name}: {len(request['body'])}"
        assert "@all" not in request["body"], f"{name} calls everybody"
        count += 1
    return f"{count} posts"


# Telegram, TamTam ----------------------------------------------------------------------------------------------------


class Markup(HTMLParser):
    """Reads a chat's HTML: its elements are whole, and few."""

    def __init__(self, known):
        super().__init__(convert_charrefs=True)
        self.known, self.open, self.text = known, [], ""

    def handle_starttag(self, tag, attributes):
        assert tag in self.known, f"<{tag}> is not known"
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> ends nothing"

    def handle_data(self, data):
        self.text += data


def marked_up(html, known):
    markup = Markup(known)
    markup.feed(html)
    markup.close()
    assert not markup.open, f"{markup.open} are open"
    # Whatever is no element is escaped.
    assert not re.search("&(?!(lt|gt|amp|quot);)", html), "an ampersand is not escaped"
    return markup.text


def telegram(exchanges):
    keyboard = record(
        ["inline_keyboard"],
        inline_keyboard={
            "type": "array",
            "maxItems": 100,
            "items": {"type": "array", "items": record(["text", "url"], text=text(64), url=HTTPS)},
        },
    )
    common = {
        "chat_id": {"type": ["string", "integer"]},
        "text": {"type": "string", "minLength": 1},
        "parse_mode": {"const": "HTML"},
        "link_preview_options": {"type": "object"},
        "reply_markup": keyboard,
    }
    schemas = {
        "sendMessage": record(
            ["chat_id", "text"],
            message_thread_id={"type": "integer"},
            disable_notification={"type": "boolean"},
            **common,
        ),
        "editMessageText": record(["chat_id", "message_id", "text"], message_id={"type": "integer"}, **common),
    }
    methods = []
    for name, request, body in bodies(exchanges):
        path = urlsplit(filled_in(request["url"])).path.split("/")
        assert path[1] == "botkept", request["url"]
        hold(schemas[path[2]], body, name)
        plain = marked_up(body["text"], {"b", "a"})
        assert 1 <= utf16(plain) <= 4096, f"{name}: {utf16(plain)}"
        methods.append(path[2])
    assert methods[:3] == ["sendMessage", "editMessageText", "editMessageText"], methods
    return f"{len(methods)} messages"


def tamtam(exchanges):
    button = record(["type", "text", "url"], type={"const": "link"}, text=text(128), url=HTTPS)
    keyboard = record(
        ["type", "payload"],
        type={"const": "inline_keyboard"},
        payload=record(["buttons"], buttons={"type": "array", "minItems": 1, "items": {"type": "array", "items": button}}),
    )
    message = record(
        ["text"],
        text=text(4000),
        attachments={"type": "array", "items": keyboard},
        notify={"type": "boolean"},
        format={"enum": ["html", "markdown"]},
    )
    methods = []
    for name, request, body in bodies(exchanges):
        hold(message, body, name)
        assert utf16(body["text"]) <= 4000, name
        marked_up(body["text"], {"b", "a"})
        query = parse_qs(urlsplit(filled_in(request["url"])).query)
        wanted = {"POST": {"chat_id", "access_token"}, "PUT": {"message_id", "access_token"}}[request["method"]]
        assert set(query) == wanted, request["url"]
        methods.append(request["method"])
    assert methods[:3] == ["POST", "PUT", "PUT"], methods
    return f"{len(methods)} messages"


# ServiceNow, Salesforce ----------------------------------------------------------------------------------------------


def servicenow(exchanges):
    digit = {"enum": ["1", "2", "3"]}
    fields = record(
        ["short_description", "description", "urgency", "impact"],
        short_description=text(160),
        description=text(4000),
        urgency=digit,
        impact=digit,
        correlation_id=text(100),
        correlation_display=text(100),
        assignment_group=text(100),
        state={"enum": ["2", "6"]},
        close_code=text(100),
        close_notes=text(4000),
    )
    methods = []
    for name, request in requests(exchanges):
        url = urlsplit(request["url"])
        assert url.path.startswith("/api/now/table/incident"), request["url"]
        assert [list(signing) for signing in request["signing"]] == [["basic"]], name
        if request["method"] == "GET":
            [query] = parse_qs(url.query)["sysparm_query"]
            assert re.fullmatch("(correlation_id=incident-1\\.channel-1\\^ORDERBYDESCsys_created_on|sys_id=a1)", query), query
        else:
            body = json.loads(request["body"])
            hold(fields, body, name)
            assert ("correlation_id" in body) == (request["method"] == "POST"), name
            assert (body.get("state") == "6") == ("close_code" in body and "close_notes" in body), name
        methods.append(request["method"])
    assert methods[:6] == ["GET", "POST", "GET", "PATCH", "GET", "PATCH"], methods
    return f"{len(methods)} requests"


def salesforce(exchanges):
    from requests import Response, Session
    from requests.adapters import BaseAdapter
    from simple_salesforce import Salesforce

    class Recorder(BaseAdapter):
        """Answers like a Salesforce that made a case, and keeps what it was asked."""

        def send(self, request, **_):
            self.seen = (request.method, urlsplit(request.url).path, json.loads(request.body))
            response = Response()
            response.status_code, response.request, response.url = 204, request, request.url
            return response

        def close(self):
            pass

    session, recorder = Session(), Recorder()
    session.mount("https://", recorder)
    client = Salesforce(
        instance_url="https://example.my.salesforce.com", session_id="kept", version="62.0", session=session
    )
    count = 0
    for name, request, body in bodies(exchanges):
        assert len(body["Subject"]) <= 255 and len(body["Description"]) <= 32_000, name
        url = urlsplit(request["url"])
        client.Case.upsert(url.path.split("/Case/")[1], body)
        assert recorder.seen == (request["method"], url.path, body), f"{name}: {recorder.seen}"
        [signing] = request["signing"]
        assert signing["oauth"]["token_url"] == "https://example.my.salesforce.com/services/oauth2/token", signing
        count += 1
    return f"{count} cases, as simple-salesforce sends them"


# SNS -----------------------------------------------------------------------------------------------------------------


def sns(exchanges):
    import logging
    import os

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # As many calls as it takes to make a user who may publish go unchecked; then every signature is computed again.
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "100000"
    import boto3
    import requests as http
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"

    def client(service, key="root", secret="root"):
        return boto3.client(
            service,
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    iam, topics, queues = client("iam"), client("sns"), client("sqs")
    iam.create_user(UserName="publisher")
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="publisher", PolicyName="all", PolicyDocument=json.dumps(everything))
    key = iam.create_access_key(UserName="publisher")["AccessKey"]
    attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "false"}
    topic = topics.create_topic(Name="alerts.fifo", Attributes=attributes)["TopicArn"]
    queue = queues.create_queue(QueueName="alerts.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    queue_arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]["QueueArn"]
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    http.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=30).raise_for_status()
    queues = client("sqs", key["AccessKeyId"], key["SecretAccessKey"])

    repeats = {}
    for name, request in requests(exchanges):
        [signing] = request["signing"]
        form = {field: values[0] for field, values in parse_qs(request["body"], strict_parsing=True).items()}
        assert len(form["Subject"]) <= 100 and form["Subject"].isascii(), f"{name}: {form['Subject']}"
        assert len(form["Message"].encode()) <= 262_144, name
        # The emulator's account is this one; its topic has to be named.
        assert form["TopicArn"] == topic, form["TopicArn"]

        def publish(secret):
            signed = AWSRequest(method=request["method"], url=f"{url}/", data=request["body"])
            signed.headers["Content-Type"] = header(request, "content-type")
            credentials = Credentials(key["AccessKeyId"], secret)
            SigV4Auth(credentials, signing["sigv4"]["service"], signing["sigv4"]["region"]).add_auth(signed)
            return http.post(f"{url}/", data=request["body"], headers=dict(signed.headers), timeout=30)

        forged = publish("another secret")
        assert forged.status_code == 403 and "SignatureDoesNotMatch" in forged.text, forged.text
        answer = publish(key["SecretAccessKey"])
        assert answer.status_code == 200 and "<MessageId>" in answer.text, f"{name}: {answer.text[:500]}"
        received = queues.receive_message(QueueUrl=queue, AttributeNames=["All"]).get("Messages", [])
        assert len(received) == 1, f"{name}: {len(received)} messages came"
        for message in received:
            body, attributes = json.loads(message["Body"]), message["Attributes"]
            assert attributes["MessageGroupId"] == form["MessageGroupId"] == "incident-1", attributes
            assert attributes["MessageDeduplicationId"] == form["MessageDeduplicationId"], attributes
            repeats[name] = form["MessageDeduplicationId"]
            assert body["Message"] == form["Message"] and body["Subject"] == form["Subject"], name
            assert body["MessageAttributes"]["incident"]["Value"] == "incident-1", body
            queues.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    server.stop()
    assert len({repeats[event] for event in ("opened", "updated", "closed")}) == 3, "an event repeats another"
    return f"{len(repeats)} messages through moto, forged signatures refused"


# E-mail, webhook, Jira, Teams ----------------------------------------------------------------------------------------


def email(exchanges):
    import smtplib
    import socket
    from email import message_from_bytes, policy

    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Message

    class Inbox(Message):
        received = []

        def handle_message(self, message):
            self.received.append(message)

    # The controller connects to itself to see whether it runs, which it cannot where it chose the port.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        controller = Controller(Inbox(), hostname="127.0.0.1", port=free.getsockname()[1])
    controller.start()
    count = 0
    for name, steps in exchanges.items():
        mail = steps[0]["send"]["outgoing"]["email"]
        message = EmailMessage()
        message["From"] = "bellwether@example.com"
        message["To"], message["Cc"], message["Reply-To"] = mail["to"], mail["cc"], mail["reply_to"]
        message["Subject"] = mail["subject"]
        message.set_content(mail["text"])
        message.add_alternative(mail["html"], subtype="html")
        with smtplib.SMTP("127.0.0.1", controller.port) as smtp:
            assert not smtp.send_message(message), name
        got = message_from_bytes(Inbox.received.pop().as_bytes(), policy=policy.default)
        # Python folds long headers where it loses a space.
        assert "".join(got["subject"].split()) == "".join(mail["subject"].split()), name
        read = lambda kind: got.get_body((kind,)).get_content().replace("\r\n", "\n").rstrip("\n")
        assert read("plain") == mail["text"].rstrip("\n"), name
        page = Page()
        page.feed(read("html"))
        assert not page.open, f"{name}: {page.open}"
        count += 1
    controller.stop()
    return f"{count} e-mails through a mail server"


class Page(HTMLParser):
    """Reads an e-mail's page: whole, without scripts, with links to pages alone."""

    empty = {"meta", "br", "img"}

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        assert tag not in {"script", "iframe", "form", "style"}, f"<{tag}>"
        for name, value in attributes:
            assert name in {"style", "href", "src", "alt", "charset"}, f"<{tag} {name}>"
            assert name not in {"href", "src"} or value.startswith("https://"), value
        if tag not in self.empty:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> ends nothing"


def webhook(exchanges):
    from standardwebhooks import Webhook

    count = 0
    for name, request, body in bodies(exchanges):
        [signing] = request["signing"]
        signing = signing["hmac"]
        key = base64.b64decode(SECRETS[signing["secret"]].removeprefix(signing["secret_prefix"]))
        content = filled_in(request["body"])
        parts = {"body": content}

        def part(given):
            if isinstance(given, str):
                return parts[given]
            return given.get("literal") or header(request, given.get("header"))

        message = "".join(part(given) for given in signing["message"])
        signature = hmac.new(key, message.encode(), hashlib.sha256).digest()
        headers = {name: header(request, name) for name in ("webhook-id", "webhook-timestamp")}
        headers[signing["header"]] = signing["prefix"] + base64.b64encode(signature).decode()
        assert Webhook(SECRETS[signing["secret"]]).verify(content, headers) == body, name
        assert body["data"]["incident"]["id"] == "incident-1", name
        count += 1
    return f"{count} requests, signatures verified"


def jira(exchanges):
    """What the document is made of is the JavaScript's to check; here the life of an issue."""
    order = []
    for name, request in requests(exchanges):
        path = urlsplit(request["url"]).path.removeprefix("/rest/api/3/")
        assert [list(signing) for signing in request["signing"]] == [["basic"]], name
        if path == "search/jql":
            query = json.loads(request["body"])["jql"]
            assert query == 'project = "OPS" AND labels = "bellwether-incident-1.channel-1" ORDER BY created DESC', query
        if path in ("issue", "issue/OPS-7") and request["method"] != "GET":
            fields = json.loads(request["body"])["fields"]
            assert 1 <= utf16(fields["summary"]) <= 255 and "\n" not in fields["summary"], name
            assert utf16(json.dumps(fields["description"], ensure_ascii=False, separators=(",", ":"))) <= 32_767, name
        order.append(f"{request['method']} {path}")
    look = ["PUT issue/OPS-7", "GET issue/OPS-7"]
    opened = ["POST search/jql", "POST issue"]
    assert order[:7] == opened + look + look + ["POST issue/OPS-7/transitions"], order[:7]
    return f"{len(order)} requests"


def msteams(exchanges):
    """What the card is made of is the JavaScript's to check; here its size and its envelope."""
    count = 0
    for name, request, body in bodies(exchanges):
        assert len(request["body"].encode()) <= 28 * 1024, f"{name}: {len(request['body'].encode())}"
        [attachment] = body["attachments"]
        assert body["type"] == "message" and attachment["contentUrl"] is None, name
        assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive", name
        count += 1
    return f"{count} cards"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        sent = json.load(file)
    for channel, exchanges in sent.items():
        try:
            print(f"{channel}: {globals()[channel](exchanges)}", flush=True)
        except AssertionError as error:
            raise AssertionError(f"{channel}: {error}") from error


main()
