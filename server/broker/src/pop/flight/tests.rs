//! The rules of one queue's leases.

use super::*;

const NOW: Duration = Duration::from_secs(10);

fn terms(popped_at: i64) -> Terms {
    Terms {
        popped_at,
        invisible: 1000,
        until: NOW,
        revive_queue: 0,
        ordered: None,
    }
}

fn take(at: u64) -> Take {
    Take {
        at,
        count: 0,
        group: 0,
    }
}

fn leased(positions: &[u64]) -> Flight {
    let mut flight = Flight::new(0);
    let takes: Vec<Take> = positions.iter().map(|&at| take(at)).collect();
    flight.lease(&takes, &terms(1));
    flight.advance(positions.last().unwrap() + 1);
    flight
}

#[test]
fn messages_far_apart_are_several_leases_of_one_pop_and_each_is_found() {
    let mut flight = leased(&[0, 63, 64, 200]);
    for at in [0, 63, 64, 200] {
        let key = flight.find(at, 0, 1).unwrap();
        assert!(flight.settle(key, at).is_some(), "{at}");
        assert_eq!(flight.find(at, 0, 1), None);
    }
    assert_eq!(flight.in_flight(), 0);
    assert_eq!(flight.next_due(), None);
}

#[test]
fn a_handle_with_another_pop_time_means_nothing() {
    let flight = leased(&[3]);
    assert_eq!(flight.find(3, 3, 2), None);
    assert_eq!(flight.find(4, 3, 1), None);
    assert_eq!(flight.find(u64::MAX, 0, 1), None);
}

#[test]
fn leases_that_overlap_keep_the_lowest_position_right() {
    let mut flight = leased(&[0, 40]);
    flight.lease(&[take(10)], &terms(2));
    assert_eq!(flight.lowest(), 0);
    flight.settle((0, 1), 0);
    assert_eq!(flight.lowest(), 10);
    flight.settle((10, 2), 10);
    assert_eq!(flight.lowest(), 40);
    flight.settle((0, 1), 40);
    assert_eq!(flight.lowest(), 41);
}

#[test]
fn a_lease_that_never_reached_the_log_leaves_no_row() {
    let mut flight = leased(&[0]);
    flight.settle((0, 1), 0);
    assert!(!flight.changed.contains(&Changed::Lease((0, 1))));
    let mut flight = leased(&[0]);
    flight.stored((0, 1));
    flight.changed.clear();
    flight.settle((0, 1), 0);
    assert!(flight.changed.contains(&Changed::Lease((0, 1))));
}

/// Against a plain map of what each position is: whatever is done, nothing is lost and nothing is
/// handed out twice at a time.
#[test]
fn any_order_of_pops_acks_and_lapses_agrees_with_a_plain_model() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Is {
        Open,
        Out(i64),
        Done,
    }
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..200 {
        let mut flight = Flight::new(0);
        let mut model: Vec<Is> = Vec::new();
        for popped_at in 1..60 {
            match rng.u8(..4) {
                0 | 1 => {
                    let mut takes = Vec::new();
                    for at in model.iter().zip(0..).filter(|(is, _)| **is == Is::Open) {
                        takes.push(take(at.1));
                    }
                    for _ in 0..rng.u8(..20) {
                        model.push(Is::Open);
                        let at = model.len() as u64 - 1;
                        match rng.u8(..3) {
                            0 => flight.leave(at, Open::default()),
                            1 => model[at as usize] = Is::Done,
                            _ => takes.push(take(at)),
                        }
                    }
                    for take in &takes {
                        model[take.at as usize] = Is::Out(popped_at);
                    }
                    flight.advance(model.len() as u64);
                    flight.lease(&takes, &terms(popped_at));
                }
                what => {
                    for (at, is) in model.iter_mut().enumerate() {
                        if let Is::Out(popped_at) = *is
                            && rng.u8(..3) == 0
                        {
                            let key = flight.find(at as u64, 0, popped_at).unwrap();
                            flight.settle(key, at as u64).unwrap();
                            *is = Is::Done;
                            if what == 3 {
                                flight.leave(at as u64, Open::default());
                                *is = Is::Open;
                            }
                        }
                    }
                }
            }
            let out = |is: &&Is| matches!(is, Is::Out(_));
            assert_eq!(flight.in_flight(), model.iter().filter(out).count() as u64);
            let lowest = model.iter().position(|is| *is != Is::Done);
            assert_eq!(flight.lowest() as usize, lowest.unwrap_or(model.len()));
            let open: Vec<u64> = flight.open().map(|(at, _)| at).collect();
            let wanted = (0..model.len() as u64).filter(|at| model[*at as usize] == Is::Open);
            assert_eq!(open, wanted.collect::<Vec<_>>());
        }
    }
}
