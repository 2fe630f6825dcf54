//! The catalogue as a whole.

use okno_wire::PacketView;
use okno_wire::packet::flag;

use super::*;

fn talk(carrier: Carrier) -> Conversation {
    let v6 = carrier == Carrier::Tcp6;
    let end = |v4: &str, v6_text: &str, port| Endpoint {
        ip: if v6 { v6_text } else { v4 }.parse().expect("an address"),
        port,
    };
    let first = match carrier {
        Carrier::Http => b"GET / HTTP/1.1\r\nHost: www.blocked.example\r\n\r\n".to_vec(),
        _ => okno_wire::tls::preset::curl(1, Some("www.blocked.example")).padded_to(512).emit_record(),
    };
    let port = if carrier == Carrier::Http { 80 } else { 443 };
    Conversation::new(
        end("10.0.0.2", "2001:db8::2", 40_000),
        end("198.51.100.7", "2001:db8:1::7", port),
        first,
        "www.blocked.example",
    )
}

#[test]
fn names_of_strategies_are_unique_and_lead_back_to_them() {
    for (index, one) in strategies().enumerate() {
        assert!(strategies().skip(index + 1).all(|other| other.id != one.id), "{}", one.id);
        assert_eq!(strategy(one.id).map(|found| found.what), Some(one.what));
    }
    assert!(strategies().count() >= 80);
}

#[test]
fn sequences_are_the_same_each_time_and_in_order_of_time() {
    for strategy in strategies() {
        let talk = talk(strategy.carrier);
        let sequence = (strategy.build)(&talk);
        assert_eq!(sequence, (strategy.build)(&talk), "{}", strategy.id);
        assert!(!sequence.steps.is_empty());
        assert!(sequence.steps.windows(2).all(|pair| pair[0].at <= pair[1].at), "{}", strategy.id);
    }
}

#[test]
fn every_packet_parses_and_only_badsum_strategies_carry_wrong_checksums() {
    for strategy in strategies() {
        let talk = talk(strategy.carrier);
        let broken = (strategy.build)(&talk)
            .steps
            .iter()
            .filter(|step| {
                let view = PacketView::parse(&step.packet).expect("a packet");
                assert!(view.ip_checksum_holds(), "{}", strategy.id);
                !view.transport_checksum_holds()
            })
            .count();
        let expected = usize::from(strategy.id.contains("badsum"));
        assert_eq!(broken, expected, "{}", strategy.id);
    }
}

#[test]
fn a_decoy_has_the_length_of_the_flight_and_not_its_name() {
    let talk = talk(Carrier::Tls);
    let sequence = (strategy("fake_ttl").expect("a strategy").build)(&talk);
    let payloads: Vec<Vec<u8>> = sequence
        .steps
        .iter()
        .filter_map(|step| Some(PacketView::parse(&step.packet).ok()?.payload().to_vec()))
        .filter(|payload| !payload.is_empty())
        .collect();
    assert_eq!(payloads.len(), 2);
    assert_eq!(payloads[0].len(), payloads[1].len());
    assert!(find(&payloads[0], b"blocked").is_none() && find(&payloads[1], b"blocked").is_some());
}

#[test]
fn fragment_counts_are_exact() {
    for (id, count) in [("ipfrag", 2), ("ipfrag_8", 8), ("ipfrag_45", 45), ("ipfrag_46", 46)] {
        let sequence = (strategy(id).expect("a strategy").build)(&talk(Carrier::Tls));
        let fragments = sequence
            .steps
            .iter()
            .filter(|step| PacketView::parse(&step.packet).is_ok_and(|view| view.fragment.is_some()));
        assert_eq!(fragments.count(), count, "{id}");
    }
}

#[test]
fn a_large_segment_is_sent_in_pieces_that_fit() {
    let talk = talk(Carrier::Tls);
    let flight = vec![7; 4_000];
    let sequence = talk.sequence(&[Segment::data(0, &flight)]);
    let mut joined = Vec::new();
    for step in &sequence.steps {
        let view = PacketView::parse(&step.packet).expect("a packet");
        assert!(view.payload().len() <= segments::MSS);
        let tcp = view.tcp().expect("TCP");
        if !tcp.has(flag::SYN) && !view.payload().is_empty() {
            assert_eq!(tcp.seq(), talk.client_isn + 1 + joined.len() as u32);
            joined.extend_from_slice(view.payload());
        }
    }
    assert_eq!(joined, flight);
}
