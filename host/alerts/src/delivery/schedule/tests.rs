//! Which delivery is next, who gets a worker, and what waits.

use proptest::prelude::*;

use super::*;

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(milliseconds).unwrap()
}

const LIMITS: DeliveryLimits = DeliveryLimits { at_once: 9, of_channel: 2, fold_above: 3, waiting: 12 };
const OURS: OrganisationId = OrganisationId(1);

fn id(incident: &str, sequence: u32) -> DeliveryId {
    DeliveryId { channel: "c".to_owned(), incident: incident.to_owned(), sequence }
}

#[test]
fn an_opening_goes_before_updates_and_the_one_that_came_first_before_others() {
    let mut schedule = Schedule::new(DeliveryLimits { fold_above: 9, ..LIMITS });
    for (incident, sequence, event) in
        [("a", 2, Event::Updated), ("z", 1, Event::Opened), ("b", 2, Event::Updated), ("y", 1, Event::Opened)]
    {
        assert!(schedule.add(OURS, &id(incident, sequence), event, None, None));
    }
    let taken = std::iter::from_fn(|| {
        let work = schedule.take(at(0))?;
        schedule.put_back(&work, &Turn::Ended);
        Some(work.incident)
    });
    assert_eq!(taken.collect::<Vec<_>>(), ["z", "y", "a", "b"]);
}

#[test]
fn a_channel_that_asks_to_be_left_alone_is_sent_nothing_until_then() {
    let mut schedule = Schedule::new(LIMITS);
    for incident in ["a", "b"] {
        assert!(schedule.add(OURS, &id(incident, 1), Event::Opened, None, None));
    }
    let work = schedule.take(at(0)).unwrap();
    schedule.put_back(&work, &Turn::Refused(at(90), at(60)));
    assert!(schedule.take(at(59)).is_none(), "others wait too");
    assert_eq!(schedule.take(at(60)).unwrap().incident, "b");
    assert_eq!(schedule.next(), Some(at(90)));
}

#[test]
fn a_channel_whose_organisation_was_resumed_while_it_was_found_suspended_delivers() {
    let mut schedule = Schedule::new(LIMITS);
    assert!(schedule.add(OURS, &id("a", 1), Event::Opened, Some(at(0)), None));
    let work = schedule.take(at(0)).unwrap();
    schedule.release_held(|_| false);
    schedule.put_back(&work, &Turn::Held);
    let work = schedule.take(at(0)).expect("it is not held");
    schedule.put_back(&work, &Turn::Held);
    schedule.release_held(|organisation| organisation == OURS);
    assert!(schedule.take(at(0)).is_none(), "it is suspended still");
    schedule.release_held(|_| false);
    assert!(schedule.take(at(0)).is_some());
}

#[test]
fn a_channel_that_was_resumed_while_it_was_found_paused_delivers() {
    let mut schedule = Schedule::new(LIMITS);
    assert!(schedule.add(OURS, &id("a", 1), Event::Opened, Some(at(0)), None));
    let work = schedule.take(at(0)).unwrap();
    schedule.release(&work.channel_key());
    schedule.put_back(&work, &Turn::Held);
    let work = schedule.take(at(0)).expect("it is not held");
    schedule.put_back(&work, &Turn::Held);
    assert!(schedule.take(at(0)).is_none(), "nobody resumed it since");
    schedule.release(&work.channel_key());
    assert!(schedule.take(at(0)).is_some());
}

#[test]
fn what_was_begun_goes_on_before_anything_else_begins() {
    let mut schedule = Schedule::new(LIMITS);
    let key = (OURS, "c".to_owned());
    for incident in ["a", "b"] {
        assert!(schedule.add(OURS, &id(incident, 1), Event::Opened, None, None));
    }
    let first = schedule.take(at(0)).unwrap();
    let mut goes_on = schedule.pause(&key, at(60)).unwrap();
    assert!(schedule.take(at(59)).is_none() && goes_on.try_recv().is_err());
    assert_eq!(schedule.next(), Some(at(60)));
    let second = schedule.take(at(60)).unwrap();
    assert!(goes_on.try_recv().is_ok());
    let mut goes_on = schedule.pause(&key, at(90)).unwrap();
    schedule.put_back(&first, &Turn::Ended);
    assert!(schedule.take(at(90)).is_none() && goes_on.try_recv().is_ok());
    schedule.put_back(&second, &Turn::Ended);
    assert!(schedule.channels.is_empty() && schedule.at_work.is_empty());
}

#[test]
fn no_more_exchanges_wait_without_a_worker_than_may_have_one() {
    let mut schedule = Schedule::new(DeliveryLimits { at_once: 2, ..LIMITS });
    for (channel, waits) in [("c", true), ("d", true), ("e", false)] {
        let id = DeliveryId { channel: channel.to_owned(), ..id("a", 1) };
        assert!(schedule.add(OURS, &id, Event::Opened, None, None));
        let work = schedule.take(at(0)).unwrap();
        assert_eq!(schedule.pause(&work.channel_key(), at(60)).is_some(), waits, "{channel}");
    }
}

#[test]
fn organisations_have_as_many_workers_as_each_other_and_one_that_comes_finds_one_free() {
    let mut schedule = Schedule::new(LIMITS);
    let mut held = Vec::new();
    for (organisation, counts) in [(7, &[5][..]), (3, &[5, 2]), (9, &[5, 2, 1])] {
        for number in 0..9 {
            let id = DeliveryId { channel: format!("c{number}"), ..id("a", 1) };
            assert!(schedule.add(OrganisationId(organisation), &id, Event::Opened, None, None));
        }
        held.extend(std::iter::from_fn(|| schedule.take(at(0))));
        assert_eq!(schedule.next(), None, "all that is left waits for a worker");
        let has = |of: u64| held.iter().filter(|work| work.organisation.0 == of).count();
        let has: Vec<usize> = [7, 3, 9].into_iter().map(has).filter(|count| *count > 0).collect();
        assert_eq!(has, counts);
    }
    // As the first is done, the others come up to it.
    for work in held.extract_if(.., |work| work.organisation.0 == 7).take(3) {
        schedule.put_back(&work, &Turn::Ended);
    }
    held.extend(std::iter::from_fn(|| schedule.take(at(0))));
    let mut has: Vec<usize> = schedule.at_work.values().copied().collect();
    has.sort_unstable();
    assert_eq!(has, [2, 2, 3]);
}

#[test]
fn updates_that_came_before_there_were_too_many_are_folded_with_the_rest() {
    let mut schedule = Schedule::new(LIMITS);
    for (incident, sequence) in [("a", 2), ("a", 3), ("b", 2), ("c", 2)] {
        assert!(schedule.add(OURS, &id(incident, sequence), Event::Updated, Some(at(60)), None));
    }
    assert_eq!(schedule.take(at(0)).map(|work| work.task), Some(Task::Fold(vec![2], 3)));
}

proptest! {
    #[test]
    fn what_is_noted_is_what_a_look_at_every_channel_finds(
        steps in prop::collection::vec((0..7_u8, 0..4_u8, 0..3_u8, 1..6_u32, 0..50_i64), 1..120)
    ) {
        let limits = LIMITS;
        let (mut schedule, mut works, mut now) = (Schedule::new(limits), Vec::new(), 0);
        for (what, channel, incident, number, span) in steps {
            let key = (OrganisationId(u64::from(channel)), format!("c{channel}"));
            let incident = format!("i{incident}");
            match what {
                0..3 => {
                    let id = DeliveryId { channel: key.1.clone(), incident, sequence: number };
                    let event = if number == 1 { Event::Opened } else { Event::Updated };
                    schedule.add(key.0, &id, event, (number % 2 == 0).then(|| at(now + span)), None);
                }
                3 => works.extend(schedule.take(at(now))),
                4 if !works.is_empty() => {
                    let work = works.swap_remove(number as usize % works.len());
                    let then = at(now + span);
                    let turns = [Turn::Ended, Turn::Later(then), Turn::Held, Turn::Limited(then), Turn::Refused(at(now + 2 * span), then)];
                    schedule.put_back(&work, &turns[span as usize % 5]);
                }
                5 => schedule.release(&key),
                _ => now += span,
            }
            prop_assert_eq!(schedule.waiting(), schedule.channels.values().map(|queue| queue.waiting).sum::<usize>());
            let first = schedule.channels.values().filter_map(|queue| queue.due(limits)).min();
            match schedule.next() {
                Some(Timestamp::MIN) => prop_assert!(first.is_some_and(|first| first <= at(now))),
                next => prop_assert_eq!(next, first),
            }
        }
        while let Some(work) = schedule.take(at(now + 100)) {
            schedule.put_back(&work, &Turn::Ended);
        }
        let due = schedule.channels.values().filter_map(|queue| queue.due(limits)).min();
        prop_assert!(due.is_none_or(|due| due > at(now + 100)), "what may be done is done");
    }
}
