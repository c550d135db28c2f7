//! What must hold, whatever happened.

use std::collections::BTreeMap;

use super::*;
use crate::delivery::record::DeliveryRow;
use crate::delivery::tests::fakes::Effect;

/// Everything that is wrong at the end.
pub(super) async fn check(world: &World, committed: &[(String, u32)], resent: &[DeliveryId]) -> Vec<String> {
    let mut problems = Vec::new();
    let rows = rows_of(world).await;
    for (incident, sequence) in committed {
        for channel in CHANNELS {
            if !rows.contains_key(&id(incident, channel, *sequence)) {
                problems.push(format!("{incident}.{channel}.{sequence} was committed and is not there"));
            }
        }
    }
    let effects = world.network.effects.lock().clone();
    for (id, row) in &rows {
        let arrived = effects.iter().any(|effect| of(effect) == *id);
        match row.state {
            DeliveryState::Waiting => problems.push(format!("{id} waits still: {row:?}")),
            DeliveryState::Delivered if !arrived => problems.push(format!("{id} never arrived")),
            DeliveryState::Folded if row.event != Event::Updated => {
                problems.push(format!("{id} was folded and is {:?}", row.event));
            }
            DeliveryState::Dead if row.reason.is_none() => {
                problems.push(format!("{id} is dead for no reason"));
            }
            _ => {}
        }
        if row.state == DeliveryState::Folded {
            let later = rows.keys().any(|other| {
                (&other.channel, &other.incident) == (&id.channel, &id.incident)
                    && other.sequence > id.sequence
            });
            if !later {
                problems.push(format!("{id} was folded into nothing"));
            }
        }
    }
    patient(world, &mut problems).await;
    for effect in &effects {
        if !rows.contains_key(&of(effect)) {
            problems.push(format!("{} arrived and was never committed", of(effect)));
        }
    }
    in_order(&effects, resent, &mut problems);
    repeated(&effects, &mut problems);
    for (card, made) in &*world.network.cards.lock() {
        if *made > 1 {
            problems.push(format!("the card of {card:?} was made {made} times"));
        }
    }
    let overlaps = world.network.overlaps.load(Ordering::SeqCst);
    if overlaps > 0 {
        problems.push(format!("{overlaps} requests went out while another of their line was on its way"));
    }
    problems
}

async fn rows_of(world: &World) -> BTreeMap<DeliveryId, DeliveryRow> {
    let prefix = Key::new(bellwether_store::Space::Delivery).prefix();
    let rows = world.store.scan(prefix, Direction::Forward, usize::MAX).await.unwrap();
    let read = rows.iter().map(|(key, row)| {
        let (_, id) = keys::delivery_of(key).unwrap();
        (id, bellwether_store::decode(row).unwrap())
    });
    read.collect()
}

/// Nothing is tried often whose formatter fails at it: within ten minutes there are some ten attempts.
async fn patient(world: &World, problems: &mut Vec<String>) {
    let prefix = Key::new(bellwether_store::Space::DeliveryAttempt).prefix();
    let mut failed: BTreeMap<(DeliveryId, Timestamp), u32> = BTreeMap::new();
    for (key, row) in world.store.scan(prefix, Direction::Forward, usize::MAX).await.unwrap() {
        if let Some(since) = Attempt::decode(&row).unwrap().failing_since {
            *failed.entry((keys::delivery_of(&key).unwrap().1, since)).or_default() += 1;
        }
    }
    let often = failed.into_iter().filter(|(_, attempts)| *attempts > 15);
    problems.extend(often.map(|((id, _), attempts)| format!("{id} was tried {attempts} times")));
}

fn of(effect: &Effect) -> DeliveryId {
    id(&effect.incident, &effect.channel, effect.sequence)
}

/// Nothing arrives behind something later of the same incident and channel; but what somebody sent again may, behind what
/// the host did not know to have arrived.
fn in_order(effects: &[Effect], resent: &[DeliveryId], problems: &mut Vec<String>) {
    for (index, effect) in effects.iter().enumerate() {
        let own = of(effect);
        let again = resent.contains(&own);
        let later = effects[..index].iter().find(|earlier| {
            (&earlier.channel, &earlier.incident) == (&own.channel, &own.incident)
                && earlier.sequence > own.sequence
                && (!again || earlier.told && earlier.life == effect.life)
        });
        if let Some(later) = later {
            problems.push(format!("{own} arrived behind {}", later.sequence));
        }
    }
}

/// What arrives again does so because the host was not told, or did not live to write it down.
fn repeated(effects: &[Effect], problems: &mut Vec<String>) {
    let mut before: BTreeMap<DeliveryId, &Effect> = BTreeMap::new();
    for effect in effects {
        if let Some(earlier) = before.insert(of(effect), effect)
            && earlier.told
            && earlier.life == effect.life
        {
            problems.push(format!("{} arrived again, though its host knew", of(effect)));
        }
    }
}
