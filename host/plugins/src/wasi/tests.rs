//! What a component finds of a world, held against its grants.

use bellwether_engine::wasmtime_wasi::p2::bindings::sockets::network::IpAddressFamily;
use bellwether_engine::wasmtime_wasi::p2::bindings::sockets::{
    ip_name_lookup, tcp_create_socket, udp_create_socket,
};
use bellwether_kernel::OrganisationId;
use bellwether_playbooks::{AppCall, Apps, Value};

use super::*;
use crate::host::Shared;
use crate::testing::{House, app_call, sending_app, worldly_app};
use crate::{Grant, Owner, PluginError, inspect};

const TIME: Timestamp = Timestamp::MIN;

pub(super) async fn scope(grants: &[&str]) -> (House, Arc<Scope>) {
    let house = House::new().await;
    let shared = Arc::new(Shared::new(house.services.clone(), house.limits));
    let grants: Vec<Grant> = grants.iter().map(|text| text.parse().unwrap()).collect();
    (house, Arc::new(Scope::new(shared, "p".to_owned(), &grants, &Default::default())))
}

fn at(time: Timestamp, seed: u8) -> Moment {
    Moment { time, seed: [seed; 32], pure: false }
}

/// What chance gives first: fit for secrets, not fit for them, and the seed for a hash map.
fn chance(world: &mut World) -> (Vec<u8>, u64, (u64, u64)) {
    use random::insecure::Host as _;
    use random::insecure_seed::Host as _;
    use random::random::Host as _;
    let random = world.things.get_mut().context.random();
    (
        random.get_random_bytes(32).unwrap(),
        random.get_insecure_random_u64().unwrap(),
        random.insecure_seed().unwrap(),
    )
}

fn now(world: &mut World) -> u64 {
    use clocks::wall_clock::Host as _;
    let WasiCtxView { ctx, table } = world.things.get_mut().view();
    let now = WasiClocksCtxView { ctx: ctx.clocks(), table }.now().unwrap();
    now.seconds * 1_000 + u64::from(now.nanoseconds) / 1_000_000
}

#[tokio::test]
async fn without_a_grant_chance_is_the_same_for_the_same_work_and_time_stands_still() {
    let (house, scope) = scope(&[]).await;
    let present = house.services.clock.now();
    let first = chance(&mut World::new(&scope, at(present, 1), Arc::default()));
    assert_eq!(chance(&mut World::new(&scope, at(present, 1), Arc::default())), first);
    assert_ne!(chance(&mut World::new(&scope, at(present, 2), Arc::default())).0, first.0);
    let mut world =
        World::new(&scope, at(Timestamp::from_milliseconds(1_234_567).unwrap(), 1), Arc::default());
    assert_eq!(now(&mut world), 1_234_567);
    assert_eq!(
        now(&mut World::new(&scope, at(TIME, 1), Arc::default())),
        0,
        "WASI knows no time before 1970"
    );
}

#[tokio::test]
async fn with_the_grants_chance_and_time_are_the_hosts() {
    let (house, scope) = scope(&["clock", "random"]).await;
    let first = chance(&mut World::new(&scope, at(TIME, 1), Arc::default()));
    assert_ne!(chance(&mut World::new(&scope, at(TIME, 1), Arc::default())).0, first.0);
    let present = house.services.clock.now().as_milliseconds();
    assert_eq!(i64::try_from(now(&mut World::new(&scope, at(TIME, 1), Arc::default()))).unwrap(), present);
}

#[tokio::test]
async fn a_pure_call_has_nothing_of_the_hosts_whatever_is_granted() {
    let (_house, scope) = scope(&["clock", "random", "http-client=http://127.0.0.1:1"]).await;
    let pure = Moment { pure: true, ..at(Timestamp::from_milliseconds(5_000).unwrap(), 1) };
    let first = chance(&mut World::new(&scope, pure, Arc::default()));
    assert_eq!(chance(&mut World::new(&scope, pure, Arc::default())), first);
    assert_eq!(now(&mut World::new(&scope, pure, Arc::default())), 5_000);
}

#[tokio::test]
async fn a_world_holds_no_file_socket_name_argument_or_variable() {
    use cli::environment::Host as _;
    use filesystem::preopens::Host as _;
    use ip_name_lookup::Host as _;
    use sockets::instance_network::Host as _;
    use tcp_create_socket::Host as _;
    use udp_create_socket::Host as _;
    let (_house, scope) = scope(&["http-client=http://127.0.0.1:1"]).await;
    let mut world = World::new(&scope, at(TIME, 1), Arc::default());
    let WasiCtxView { ctx, table } = world.things.get_mut().view();
    let mut cli = WasiCliCtxView { ctx: ctx.cli(), table };
    assert!(cli.get_environment().unwrap().is_empty() && cli.get_arguments().unwrap().is_empty());
    assert_eq!(cli.initial_cwd().unwrap(), None);
    let WasiCtxView { ctx, table } = world.things.get_mut().view();
    assert!(WasiFilesystemCtxView { ctx: ctx.filesystem(), table }.get_directories().unwrap().is_empty());
    let WasiCtxView { ctx, table } = world.things.get_mut().view();
    let mut sockets = WasiSocketsCtxView { ctx: ctx.sockets(), table };
    assert!(sockets.create_tcp_socket(IpAddressFamily::Ipv4).is_err());
    assert!(sockets.create_udp_socket(IpAddressFamily::Ipv6).await.is_err());
    let network = sockets.instance_network().unwrap();
    assert!(sockets.resolve_addresses(network, "localhost".to_owned()).is_err());
}

const DRAWS: &str = "(i64.store (global.get $answer) (call $chance)) (global.get $ok)";
const TELLS: &str = "(call $now (i32.const 2000)) (i64.store (global.get $answer) (i64.load (i32.const 2000))) (global.get $ok)";

/// What an app of `run` answers for the work of that name, under these grants.
async fn answer(run: &str, work: &str, granted: &[&str]) -> i64 {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let granted = granted.iter().map(|text| text.parse().unwrap()).collect();
    plugins.install(Owner::Host, "host", worldly_app("", run), granted, false).await.unwrap();
    let call = AppCall { idempotency_key: work.to_owned(), ..app_call() };
    let report = plugins.app(OrganisationId(1), "worldly").unwrap().run(call).await;
    match report.result.unwrap().remove(0).1 {
        Value::Integer(answer) => answer,
        other => panic!("{other:?} is no integer"),
    }
}

#[tokio::test]
async fn an_app_draws_the_same_for_the_same_work_and_otherwise_only_with_the_grant() {
    let drawn = answer(DRAWS, "work", &[]).await;
    assert_eq!(answer(DRAWS, "work", &[]).await, drawn);
    assert_ne!(answer(DRAWS, "other work", &[]).await, drawn);
    // The house's own chance begins from a seed as well: what matters is that it is drawn from.
    assert_ne!(answer(DRAWS, "work", &["random"]).await, drawn);
}

#[tokio::test]
async fn an_app_is_told_when_its_call_began() {
    for granted in [&[][..], &["clock"]] {
        assert_eq!(answer(TELLS, "work", granted).await, 1_711_974_600, "2024-04-01T12:30:00Z");
    }
}

#[tokio::test]
async fn a_description_is_given_at_the_epoch_whatever_is_granted() {
    let describe = "(call $now (i32.const 2000)) (if (i64.ne (i64.load (i32.const 2000)) (i64.const 0)) (then unreachable))";
    let house = House::new().await;
    let plugins = house.plugins().await;
    let bytes = worldly_app(describe, TELLS);
    plugins.install(Owner::Host, "host", bytes, vec![Grant::Clock {}], false).await.unwrap();
}

#[tokio::test]
async fn what_a_runtime_imports_may_be_granted_need_not_be_and_can_change() {
    let bytes = worldly_app("", DRAWS);
    let inspection = inspect(&bytes).unwrap();
    let optional: Vec<_> = inspection.optional.iter().map(|request| request.privilege).collect();
    assert_eq!((inspection.requests.len(), &optional[..]), (0, &[Privilege::Clock, Privilege::Random][..]));
    assert_eq!(inspection.baseline, ["wasi:clocks/wall-clock@0.2.3", "wasi:random/random@0.2.0"]);
    assert!(inspection.problems.is_empty(), "{:?}", inspection.problems);
    let house = House::new().await;
    let plugins = house.plugins().await;
    let surplus = plugins.install(Owner::Host, "host", bytes.clone(), vec![Grant::Log {}], false).await;
    assert!(matches!(surplus, Err(PluginError::NotRequested { .. })), "{surplus:?}");
    plugins.install(Owner::Host, "host", bytes, vec![], false).await.unwrap();
    for grants in [vec![Grant::Random {}, Grant::Clock {}], vec![Grant::Clock {}], vec![]] {
        let changed = plugins.set_grants(Owner::Host, "host", "worldly", grants.clone()).await.unwrap();
        assert_eq!((&changed.grants, &changed.problem), (&grants, &None));
    }
    let surplus = plugins.set_grants(Owner::Host, "host", "worldly", vec![Grant::Log {}]).await;
    assert!(matches!(surplus, Err(PluginError::NotRequested { .. })), "{surplus:?}");
}

#[tokio::test]
async fn what_is_handed_over_in_wasis_words_counts_with_all_a_call_may_hand_over() {
    // Bytes 4096 to 8192 are zero, which stands in no path: those there are filled with slashes before.
    let slashes = "(memory.fill (i32.const 4096) (i32.const 47) (i32.const 4096))";
    for (what, begin, each) in [
        (
            "a path",
            "(call $request (call $fields))",
            "(drop (call $path (local.get $it) (i32.const 1) (i32.const 4096) (i32.const 4096)))",
        ),
        (
            "a header",
            "(i32.const 0)",
            "(call $append (call $fields) (i32.const 1010) (i32.const 6) (i32.const 4096) (i32.const 4096) (i32.const 2000))",
        ),
        (
            "what is printed",
            "(call $stdout)",
            "(call $write (local.get $it) (i32.const 4096) (i32.const 4096) (i32.const 2000))",
        ),
    ] {
        let run = |times: u32| {
            format!(
                "(call $hand)) (func $hand (result i32) (local $it i32) (local $left i32) {slashes}
                (local.set $it {begin}) (local.set $left (i32.const {times}))
                (loop {each} (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                (global.get $ok)"
            )
        };
        for (times, enough) in [(8, true), (30, false)] {
            let mut house = House::new().await;
            house.limits.call.host_bytes = 100 << 10;
            let plugins = house.plugins().await;
            plugins.install(Owner::Host, "host", sending_app(&run(times)), vec![], false).await.unwrap();
            let report = plugins.app(OrganisationId(1), "sending").unwrap().run(app_call()).await;
            match report.result {
                Ok(_) => assert!(enough, "{what}, {times} times"),
                Err(error) => {
                    let told = "handed the host more than the 102400 bytes a call may in all";
                    assert!(!enough && error.message.ends_with(told), "{what}, {times} times: {error:?}");
                }
            }
        }
    }
}

#[test]
fn the_baseline_is_wasi_of_version_0_2_and_three_of_its_interfaces_stand_for_privileges() {
    for (import, baseline, privilege) in [
        ("wasi:cli/stdout@0.2.0", true, None),
        ("wasi:clocks/wall-clock@0.2.12", true, Some(Privilege::Clock)),
        ("wasi:clocks/monotonic-clock@0.2.3", true, Some(Privilege::Clock)),
        ("wasi:random/insecure-seed@0.2.0", true, Some(Privilege::Random)),
        ("wasi:http/outgoing-handler@0.2.0", true, Some(Privilege::HttpClient)),
        ("wasi:http/types@0.2.0", true, None),
        ("wasi:http/incoming-handler@0.2.0", false, None),
        ("wasi:clocks/wall-clock@0.3.0", false, None),
        ("wasi:keyvalue/store@0.2.0", false, None),
        ("wasi:cli/stdout", false, None),
        ("other:cli/stdout@0.2.0", false, None),
    ] {
        assert_eq!((is_baseline(import), optional(import)), (baseline, privilege), "{import}");
    }
}
