//! Tests of the flow table: exact expiry, caps, time that jumps and goes back.

use core::net::IpAddr;

use super::*;

fn key(n: u32) -> FlowKey {
    let end = |ip: u32, port| Endpoint { ip: IpAddr::from(ip.to_be_bytes()), port };
    FlowKey::of(end(0x0a00_0000 + n, 1000), end(0xc000_0201, 443), 6).0
}

fn flow(n: u32, at: Instant) -> Flow {
    Flow {
        key: key(n),
        stage: Stage::Established,
        inside_is_low: true,
        opened_by: Direction::Up,
        armed: true,
        exempt: false,
        ended: false,
        used: false,
        unheard: false,
        protocol: None,
        generation: 0,
        serial: 0,
        opened: at,
        last: at,
        packets: PerWay::default(),
        data_packets: PerWay::default(),
        bytes: PerWay::default(),
        ways: PerWay::default(),
        inspection: None,
        watchers: 0,
        hot: None,
        known: None,
    }
}

fn add(table: &mut FlowTable, n: u32, seconds: u64) -> usize {
    let flow = flow(n, Instant::from_secs(seconds));
    table.insert(hash_of(&flow.key), flow, &Timeouts::default()).0
}

#[test]
fn a_flow_is_idle_at_its_timeout_and_not_before_in_each_stage() {
    let timeouts = Timeouts::default();
    for (stage, timeout) in
        [(Stage::SynSent, 60), (Stage::SynReceived, 105), (Stage::Established, 480), (Stage::Datagrams, 480)]
    {
        let mut table = FlowTable::new(10);
        let at = add(&mut table, 1, 1000);
        table.at_mut(at).expect("added").stage = stage;
        let end = Instant::from_secs(1000 + timeout);
        let before = Instant::from_nanos(end.nanos() - 1);
        assert!(!table.is_idle(at, before, &timeouts) && table.is_idle(at, end, &timeouts), "{stage:?}");
    }
}

#[test]
fn idle_flows_are_freed_without_being_looked_up_and_active_ones_stay() {
    let timeouts = Timeouts::default();
    let mut table = FlowTable::new(10);
    let idle = add(&mut table, 1, 1000);
    let active = add(&mut table, 2, 1000);
    for second in 1000..3000 {
        let now = Instant::from_secs(second);
        table.at_mut(active).expect("active").last = now;
        table.expire(now, &timeouts, u64::MAX, |_| {});
    }
    assert!(table.at(idle).is_none() && table.at(active).is_some());
    assert_eq!((table.len(), table.expired), (1, 1));
    assert!(table.find(hash_of(&key(1)), &key(1)).is_none());
    assert_eq!(table.find(hash_of(&key(2)), &key(2)), Some(active));
}

#[test]
fn a_jump_of_years_frees_all_and_time_going_back_breaks_nothing() {
    let timeouts = Timeouts::default();
    let mut table = FlowTable::new(1000);
    for n in 0..500 {
        add(&mut table, n, 1_600_000_000 + u64::from(n));
    }
    table.expire(Instant::from_secs(1_700_000_000), &timeouts, u64::MAX, |_| {});
    assert_eq!(table.len(), 0);
    // Back by years: flows of the earlier time expire again in their own time.
    table.expire(Instant::from_secs(1_500_000_000), &timeouts, u64::MAX, |_| {});
    for n in 0..500 {
        add(&mut table, n, 1_500_000_000);
    }
    for second in 0..1200 {
        table.expire(Instant::from_secs(1_500_000_000 + second), &timeouts, u64::MAX, |_| {});
    }
    assert_eq!(table.len(), 0);
}

#[test]
fn a_full_table_gives_up_a_flow_that_was_not_used_lately_and_counts_it() {
    let mut table = FlowTable::new(100);
    for n in 0..100 {
        add(&mut table, n, 1000);
    }
    for n in 0..50 {
        let at = table.find(hash_of(&key(n)), &key(n)).expect("there");
        table.at_mut(at).expect("there").used = true;
    }
    for n in 100..150 {
        let at = add(&mut table, n, 1001);
        table.at_mut(at).expect("there").used = true;
    }
    assert_eq!((table.len(), table.evicted), (100, 50));
    assert!((0..50).all(|n| table.find(hash_of(&key(n)), &key(n)).is_some()));
}

#[test]
fn the_hash_spreads_neighbouring_keys_over_all_its_bits() {
    let mut low = std::collections::BTreeSet::new();
    let mut high = std::collections::BTreeSet::new();
    for n in 0..4096 {
        let hash = hash_of(&key(n));
        low.insert(hash & 0xffff);
        high.insert(hash >> 48);
    }
    assert!(low.len() > 3900 && high.len() > 3900, "{} {}", low.len(), high.len());
}

#[test]
fn flows_that_come_and_go_while_time_stands_still_leave_nothing_behind() {
    let mut table = FlowTable::new(100);
    for n in 0..100_000 {
        add(&mut table, n, 1000);
    }
    assert_eq!(table.len(), 100);
    assert!(table.memory() < 1 << 20, "{}", table.memory());
}

#[test]
fn an_address_made_to_cancel_the_hashs_constants_does_not_gather_flows_in_one_place() {
    let cancelling = u128::from(0x9e37_79b9_7f4a_7c15_u64) << 64 | u128::from(0x9e37_79b9_7f4a_7c15_u64);
    let one = Endpoint { ip: IpAddr::from(cancelling.to_be_bytes()), port: 0 };
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..4096_u128 {
        let other = Endpoint { ip: IpAddr::from((u128::MAX - n).to_be_bytes()), port: 443 };
        seen.insert(hash_of(&FlowKey::of(one, other, 6).0) & 0xffff);
    }
    assert!(seen.len() > 3900, "{}", seen.len());
}

#[test]
fn a_clock_that_jumps_to_and_fro_does_not_have_every_flow_looked_at_with_each_packet() {
    let timeouts = Timeouts::default();
    let mut table = FlowTable::new(10_000);
    for n in 0..1000 {
        let flow = flow(n, Instant::from_secs(1_000_000));
        table.insert(hash_of(&flow.key), flow, &timeouts);
    }
    for packets in 1000..11_000 {
        let second = if packets % 2 == 0 { 1 } else { 2000 };
        table.expire(Instant::from_secs(second), &timeouts, packets, |_| {});
    }
    assert!(table.looks <= 64 * 11_000 + 1000, "{}", table.looks);
    // The clock is right again: all end at their time, a little late at most.
    for packets in 11_000..12_000 {
        table.expire(Instant::from_secs(1_000_480 + packets), &timeouts, packets, |_| {});
    }
    assert_eq!(table.len(), 0);
}
