//! Signs: the named pieces of evidence that rules may ask for.
//!
//! Code turns facts into signs, rules (data) turn signs into verdicts. A sign is about one host at one
//! hop and one layer, except those that start with `control.`, `chain.`, `probe.` and `test.`, which
//! every layer of a measurement shares, and those that start with `arm.`, which are about the tried things
//! of a test that compares (see [`arms`](crate::arms)). The doc of each sign is what the manual prints, so it
//! says what the evidence is and not what follows from it.
//!
//! A sign is a number, not a variant of an enum: the signs of arms are the product of roles and endings, and
//! no macro of ours can make identifiers of products.

use crate::arms;

/// One piece of evidence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sign(u16);

macro_rules! signs {
    ($( $variant:ident = $name:literal, $doc:literal; )+) => {
        #[expect(clippy::enum_variant_names, reason = "a place is named as its sign")]
        #[repr(u16)]
        enum Place { $( $variant, )+ End }

        #[expect(non_upper_case_globals, reason = "signs read like the variants that they stand for")]
        impl Sign {
            $( #[doc = $doc] pub const $variant: Self = Self(Place::$variant as u16); )+
        }

        /// Name and doc of the signs that are written out.
        const NAMED: [(&str, &str); NAMED_COUNT] = [ $( ($name, $doc), )+ ];
    };
}

/// Signs that are written out; those of arms follow.
const NAMED_COUNT: usize = Place::End as usize;
/// Signs of every kind.
const COUNT: usize = NAMED_COUNT + arms::SIGNS.len();

impl Sign {
    /// Every sign, in the order of the manual.
    pub const ALL: &'static [Self] = &{
        let mut all = [Self(0); COUNT];
        let mut at = 0;
        while at < COUNT {
            all[at] = Self(at as u16);
            at += 1;
        }
        all
    };

    /// That an arm of this role ended so.
    pub const fn arm(role: arms::Role, ending: arms::Ending) -> Self {
        Self((NAMED_COUNT + role as usize * arms::Ending::COUNT + ending as usize) as u16)
    }

    const fn entry(self) -> (&'static str, &'static str) {
        let at = self.0 as usize;
        if at < NAMED_COUNT { NAMED[at] } else { arms::SIGNS[at - NAMED_COUNT] }
    }

    /// Its name in rule files.
    pub const fn name(self) -> &'static str {
        self.entry().0
    }

    /// What evidence it is.
    pub const fn doc(self) -> &'static str {
        self.entry().1
    }

    /// Whether it is one of the product of roles and endings.
    pub const fn is_of_arm(self) -> bool {
        self.0 as usize >= NAMED_COUNT
    }
}

impl std::fmt::Debug for Sign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

signs! {
    // What stands beside the whole measurement.
    ControlNone = "control.none", "this test has no test helper";
    ControlAbsent = "control.absent", "the test has a helper, the measurement carries no answer of it";
    ControlFailed = "control.failed", "the helper was asked and could not be reached or gave an error: it may be blocked itself";
    ControlOk = "control.ok", "the helper answered";
    ControlHttpOk = "control.http_ok", "the helper fetched the page, redirects included";
    ControlHttpFailed = "control.http_failed", "the helper could not fetch the page either";
    ChainControlOk = "chain.control_ok", "this is a redirect hop, and the helper walked the same chain of redirects to its end";
    Hop = "chain.hop", "this host was reached by a redirect";
    ProbeOffline = "probe.offline", "no operation of this measurement worked and no helper answered: the probe may have had no network";
    NoConnection = "probe.no_connection", "the helper was asked in vain, and no connection of this measurement opened to anybody: names may have resolved, the line may have been down beyond the resolver";
    InstrumentDefect = "probe.instrument_defect", "this software version fails here in several networks of several countries and nowhere succeeds, while other versions succeed";
    ProbeServersOk = "probe.servers_ok", "the application under test says that its servers work, whatever it says of its web page";
    ProbeMobile = "probe.mobile", "the probe says that it measured over a mobile network";
    ClockOff = "probe.clock_off", "the probe's clock and the collector's differ by more than a day";

    // Name resolution.
    DnsAnswered = "dns.answered", "the user's resolver gave an address";
    DnsFailed = "dns.failed", "every lookup through the user's resolver failed";
    DnsNxDomain = "dns.nxdomain", "it said NXDOMAIN";
    DnsNoAnswer = "dns.no_answer", "it gave an empty answer";
    DnsAndroidNoData = "dns.android_no_data", "Android's cache said no data, which stands for NXDOMAIN or any other miss";
    DnsRefused = "dns.refused", "it said REFUSED";
    DnsKnownName = "dns.known_name", "the name is one of a messenger's that has stood for years";
    DnsServfail = "dns.servfail", "it said SERVFAIL or gave another error";
    DnsTimeout = "dns.timeout", "it did not answer";
    DnsLocal = "dns.local", "the probe's own machine or network failed the lookup, or the failure has no name";
    DnsOnlyAaaa = "dns.only_aaaa", "only IPv6 addresses were asked for, and the helper knows only IPv4 ones";
    DnsBogon = "dns.bogon", "every address in the answer is private, reserved or otherwise not public";
    DnsBogonZero = "dns.bogon_zero", "the bogon is 0.0.0.0, :: or loopback, as home filters and hosts files answer";
    DnsFingerprint = "dns.fingerprint", "the answer is an address that block pages of this country, or of no known country, are served from";
    DnsLeadsToBlockpage = "dns.leads_to_blockpage", "a known block page came from the address in the answer";
    DnsControlAnswered = "dns.control_answered", "the helper resolved the name to a public address";
    DnsControlBogon = "dns.control_bogon", "the helper's answer is a bogon as well";
    DnsControlNxDomain = "dns.control_nxdomain", "the helper was told that the name does not exist";
    DnsControlNoAnswer = "dns.control_no_answer", "the helper got an empty answer";
    DnsControlError = "dns.control_error", "the helper's own lookup failed otherwise";
    DnsControlMatch = "dns.control_match", "an address in the answer is one that the helper resolved";
    DnsSameNetwork = "dns.same_network", "an address in the answer belongs to the same network or organisation as one of the helper's";
    DnsValidated = "dns.validated", "a certificate valid for the name was shown at an address of the answer, to the probe or to the helper";
    DnsBaselineValidated = "dns.baseline_validated", "the same, to probes in enough other networks within a day";
    DnsSameForAll = "dns.same_for_all", "the user's resolver gave one and the same address for this name and for every unrelated name that it was asked in this measurement";
    DnsOwnNetwork = "dns.own_network", "every address in the answer lies in the probe's own network, and none of the helper's does";
    DnsContentSame = "dns.content_same", "the page served from an address of the answer is the helper's page";
    DnsContentDiffers = "dns.content_differs", "the page served from an address of the answer differs from the helper's in every compared respect";
    DnsCertificateContradicts = "dns.certificate_contradicts", "every address of the answer that was asked over TLS showed a certificate that does not verify, while the helper saw a valid one for the name elsewhere";
    DnsUnreachable = "dns.unreachable", "no address of the answer could be connected to";
    DnsEncryptedAnswered = "dns.encrypted_answered", "an encrypted resolver (DoH, DoT), asked by the same probe, gave a public address";
    DnsEncryptedNxDomain = "dns.encrypted_nxdomain", "an encrypted resolver, asked by the same probe, said NXDOMAIN";
    DnsEncryptedAgrees = "dns.encrypted_agrees", "the encrypted resolver's answer shares an address or a network with the user's";
    DnsEncryptedDisagrees = "dns.encrypted_disagrees", "the encrypted resolver's answer shares neither";
    DnsEncryptedMatchesControl = "dns.encrypted_matches_control", "the encrypted resolver and the helper name the same address, so the name is not answered by place";
    DnsPlainAnswered = "dns.plain_answered", "another resolver, asked in the clear, gave a public address";
    DnsPlainAgrees = "dns.plain_agrees", "another resolver, asked in the clear, gave an address that the user's gave";
    DnsPlainMatchesControl = "dns.plain_matches_control", "another resolver, asked in the clear, gave an address that the helper resolved";
    DnsExplicitResolver = "dns.explicit_resolver", "the lookups were sent to a resolver that the test chose: their failure is about that resolver, not about the name";
    DnsSecondAnswer = "dns.second_answer", "a second answer to one question came and said something else: somebody on the way answers too";
    DnsNetworkUnknown = "dns.network_unknown", "nobody says which network the addresses of the answer belong to";
    DnsBaselineResolves = "dns.baseline_resolves", "the name resolved in enough other networks within a day";
    DnsBaselineFails = "dns.baseline_fails", "the name failed to resolve in enough other networks of several countries, and resolved in none";

    // Connections.
    TcpOk = "tcp.ok", "a connection on the user's path opened";
    TcpOkElsewhere = "tcp.ok_elsewhere", "a connection opened to an address of this host that the user's path does not use, or only to validate an address";
    TcpFailed = "tcp.failed", "a connection that a user would make failed and may be judged";
    TcpRefused = "tcp.refused", "it was refused";
    TcpReset = "tcp.reset", "it was reset while being set up";
    TcpTimeout = "tcp.timeout", "nothing came back";
    TcpUnreachable = "tcp.unreachable", "an ICMP message or the local stack said there is no route";
    TcpLocal = "tcp.local", "the probe's own machine or network is at fault";
    TcpControlOk = "tcp.control_ok", "the helper connected to this very address and port";
    TcpControlFailed = "tcp.control_failed", "the helper could not connect to this address and port either";
    TcpNameControlOk = "tcp.name_control_ok", "the helper reached the host at another address or fetched its page";
    TcpVouched = "tcp.vouched", "the address is one that the helper, an encrypted resolver or a valid certificate gives for the name";
    TcpNotTrusted = "tcp.not_trusted", "what failed were only connections to addresses from an answer that was found false";
    TcpIpv6Broken = "tcp.ipv6_broken", "what failed were only IPv6 connections, and no IPv6 connection of this measurement works while IPv4 does";
    TcpCheckOnly = "tcp.check_only", "what failed only served to validate an address (fetch_body=false)";
    TcpFrozen = "tcp.frozen", "a transfer stopped for good after 8 to 64 KiB, without FIN or RST";
    TcpBaselineOk = "tcp.baseline_ok", "this address and port opened in enough other networks within a day";
    TcpBaselineFails = "tcp.baseline_fails", "this address and port failed in enough other networks of several countries and opened in none";
    TcpManyEndpoints = "tcp.many_endpoints", "three or more endpoints without a host name were tried";
    TcpAllFailed = "tcp.all_failed", "every connection that a user would make failed";

    // TLS over TCP.
    TlsOk = "tls.ok", "a handshake that a user would make completed and was verified";
    TlsOkUnverified = "tls.ok_unverified", "a handshake completed; the probe was told not to verify it";
    TlsOkCheck = "tls.ok_check", "a handshake that only served to validate an address completed";
    TlsFailed = "tls.failed", "a handshake that a user would make failed and may be judged";
    TlsReset = "tls.reset", "it ended with RST";
    TlsTimeout = "tls.timeout", "it stalled";
    TlsEof = "tls.eof", "it ended with an orderly close";
    TlsAlert = "tls.alert", "it ended with an alert or a protocol error, as servers send too";
    TlsCertName = "tls.cert_name", "the certificate is for another name";
    TlsCertAuthority = "tls.cert_authority", "the certificate's issuer is not trusted";
    TlsCertInvalid = "tls.cert_invalid", "the certificate is expired or not yet valid, as far as the probe's clock goes";
    TlsLocal = "tls.local", "the probe's own machine is at fault, or the failure has no name";
    TlsControlSame = "tls.control_same", "the helper completed the handshake with this very address and name";
    TlsControlName = "tls.control_name", "the helper completed a handshake for this name at another address, or fetched its https page";
    TlsControlSameFailure = "tls.control_same_failure", "the helper's handshake with this address or name failed in the same way";
    TlsControlFailed = "tls.control_failed", "the helper's handshake with this address and name failed";
    TlsNotTrusted = "tls.not_trusted", "what failed were only handshakes with addresses from an answer that was found false";
    TlsCheckOnly = "tls.check_only", "what failed only served to validate an address (fetch_body=false)";
    TlsHttpSameCut = "tls.http_same_cut", "the plain HTTP request to the same host was cut in the same way";
    TlsOtherNameOk = "tls.other_name_ok", "another server name completed the handshake with the same address";
    TlsStalledBody = "tls.stalled_body", "the answer began over TLS and its body never completed";
    TlsHello = "tls.hello", "the server answered the handshake: what failed is the certificate, which this test expects";
    TlsSlow = "tls.slow", "the bytes of this connection came in at less than the ruleset's slow rate for longer than its slow time";
    TlsEch = "tls.ech", "the failed handshake used ECH, and one without ECH to the same host completed";
    TlsBaselineOk = "tls.baseline_ok", "handshakes for this name completed in enough other networks within a day";
    TlsBaselineFails = "tls.baseline_fails", "they failed in enough other networks of several countries and completed in none";
    TransferLarge = "transfer.large", "the helper's copy of the page is large, so that a slow line shows";
    TransferFrozen = "transfer.frozen", "bytes stopped for good after 8 to 64 KiB";

    // QUIC.
    QuicOk = "quic.ok", "a QUIC handshake completed";
    QuicFailed = "quic.failed", "a QUIC handshake failed and may be judged";
    QuicTimeout = "quic.timeout", "Initial packets stayed unanswered, or the handshake stalled";
    QuicReset = "quic.reset", "the handshake was broken off";
    QuicCert = "quic.cert", "the certificate did not verify";
    QuicOther = "quic.other", "it failed otherwise";
    QuicControlOk = "quic.control_ok", "the helper completed a QUIC handshake with this name";
    QuicControlFailed = "quic.control_failed", "the helper did not";
    QuicNotTrusted = "quic.not_trusted", "the addresses came from an answer that was found false";
    QuicBaselineOk = "quic.baseline_ok", "QUIC handshakes with this host completed in enough other networks within a day";
    QuicBaselineFails = "quic.baseline_fails", "they failed in enough other networks of several countries and completed in none";

    // HTTP.
    HttpAnswered = "http.answered", "an answer with a status code came";
    HttpFailed = "http.failed", "no complete answer came";
    HttpReset = "http.reset", "the connection was reset after the request";
    HttpTimeout = "http.timeout", "nothing came after the request";
    HttpEof = "http.eof", "the connection was closed after the request";
    HttpOtherFailure = "http.other_failure", "the exchange failed otherwise: a bad redirect, too many redirects, a library's complaint";
    HttpEncrypted = "http.encrypted", "the request went over TLS";
    HttpAuthenticated = "http.authenticated", "the answer came over a verified TLS connection: nobody on the way could write it";
    HttpRedirect = "http.redirect", "the answer is a redirect";
    HttpCrossesSite = "http.crosses_site", "it leads to another site";
    HttpFinal = "http.final", "this is the last answer of the chain";
    HttpFinalSame = "http.final_same", "the last answer of the chain is the helper's page, or was authenticated while the helper got a page too";
    HttpFinalDiffers = "http.final_differs", "the last answer of the chain differs from the helper's page in every compared respect";
    HttpFinalForeign = "http.final_foreign", "the last answer of the chain was authenticated, by another site than the input's; it differs from the helper's page in every compared respect, and is less than a fifth of its length or comes from the probe's own network";
    HttpShorter = "http.shorter", "the page is shorter than the helper's";
    HttpSame = "http.same", "same status as the helper, and length, title or uncommon headers match (ts-017)";
    HttpDiff = "http.diff", "the helper got a page; length, title and uncommon headers all differ, and nothing was cut off (ts-017)";
    HttpReached = "http.reached", "a connection to the host is recorded, and for https a handshake: the request was sent";
    HttpStatusOk = "http.status_ok", "the status is 2xx";
    HttpStatusRefused = "http.status_refused", "the status is 4xx or 5xx while the helper's was not";
    HttpStatusSame = "http.status_same", "the helper got the same status";
    HttpCaptcha = "http.captcha", "403, 429 or 503 from a server of a CDN that asks visitors to prove themselves";
    HttpFingerprint = "http.fingerprint", "a block page of a government, provider, product or institution, expected in this country or bound to none";
    HttpFingerprintWeak = "http.fingerprint_weak", "a block page whose owner is not known, or that is expected in other countries";
    HttpFingerprintFalse = "http.fingerprint_false", "a page known to be mistaken for a block page, or a refusal by the site itself";
    HttpNotTrusted = "http.not_trusted", "the answer came from an address that was found false";
    HttpSameCut = "http.same_cut", "the TLS handshake with the same host was cut in the same way: one filter by name, counted there";
    HttpStalledBody = "http.stalled_body", "the answer began and its body never completed";
    HttpSlow = "http.slow", "the bytes came in at less than the ruleset's slow rate for longer than its slow time";
    HttpTampered = "http.tampered", "what the server received or sent back is not what was sent";
    HttpIntact = "http.intact", "what was sent arrived as it was sent";
    HttpBaselineOk = "http.baseline_ok", "requests to this host were answered in enough other networks within a day";
    HttpBaselineFails = "http.baseline_fails", "requests to this host failed in enough other networks of several countries and were answered in none";

    // Applications.
    AppOk = "app.ok", "the application says that it worked";
    AppFailed = "app.failed", "the application says that it did not work";
    AppPartial = "app.partial", "some of its parts worked and some did not";
    AppTimeout = "app.timeout", "its parts failed by silence";
    AppReset = "app.reset", "its parts failed by RST or close";
    AppEndpointsAllFailed = "app.endpoints_all_failed", "every endpoint of the application failed, and at least three were tried";
    AppEndpointsOk = "app.endpoints_ok", "at least one endpoint of the application worked";
    AppEndpointsMost = "app.endpoints_most_failed", "more than four of five endpoints failed, and at least five were tried";
    AppWebOk = "app.web_ok", "its web page, or another of its services, answered in the same measurement";
    AppWebFailed = "app.web_failed", "its web page did not answer in a way that points to the network";
    AppCoreFailed = "app.core_failed", "every statement about the application's own servers says that they failed";
    AppServersFailed = "app.servers_failed", "every connection failed, not by the machine's own fault, to three or more named hosts that only take connections, and none opened to such a host";
    AppCoreOk = "app.core_ok", "every statement about the application's own servers says that they worked";
    AppHandshakesCut = "app.handshakes_cut", "at three or more of its hosts the connection opened and the handshake was cut, and no handshake completed";
    AppBridgesFailed = "app.bridges_failed", "all of five or more bridges failed while directory servers answered";
    AppDirectoryFailed = "app.directory_failed", "all of five or more directory servers failed while bridges answered";
    AppNotRun = "app.not_run", "the application says of no part whether it worked";
    AppInvalidated = "app.invalidated", "this version of the test is known to be wrong on this date";
    AppNameForged = "app.name_forged", "a name of the application was judged to resolve falsely in the same measurement";
    AppBaselineOk = "app.baseline_ok", "the same part worked in enough other networks within a day";
    AppBaselineFails = "app.baseline_fails", "the same part failed in enough other networks of several countries and worked in none";
    TestTelegram = "test.telegram", "the test is telegram";
    TestWhatsapp = "test.whatsapp", "the test is whatsapp";
    TestFacebook = "test.facebook", "the test is facebook_messenger";
    TestSignal = "test.signal", "the test is signal";
    TestTor = "test.tor", "the test is tor or vanilla_tor";
    TestSnowflake = "test.snowflake", "the test is torsf";
    TestPsiphon = "test.psiphon", "the test is psiphon";
    TestOpenvpn = "test.openvpn", "the test is openvpn";
    TestRiseup = "test.riseup", "the test is riseupvpn";
    TestStun = "test.stun", "the test is stunreachability";
    TestMessenger = "test.messenger", "the test is of a messenger, whose names are public and exist";
    TestEcho = "test.echo", "the test is http_invalid_request_line: an echo server sends back what it gets";
    TestHeaders = "test.headers", "the test is http_header_field_manipulation: an echo server reports the headers it gets";
    TestSni = "test.sni", "the test is sni_blocking or tlsmiddlebox: one address, several server names";
    TestEch = "test.ech", "the test is echcheck";

    // Tests of our own, which compare arms; `judge/arms/mod.rs` says which test gives which.
    TestThrottling = "test.throttling", "the test is throttling: one transfer as it is, scrambled, and with a neutral name";
    TestPacketBudget = "test.packet_budget", "the test is packet_budget: transfers with packets of several sizes";
    TestConnectionPolicer = "test.connection_policer", "the test is connection_policer: a series of connections, and again after waiting";
    TestWhitelist = "test.whitelist", "the test is whitelist: listed and unlisted names and addresses, crossed";
    TestBlackout = "test.blackout", "the test is blackout: targets at home and abroad over several transports";
    TestInitiation = "test.initiation", "the test is initiation: the same flow, opened from this and from the other side";
    TestFragmentCensus = "test.fragment_census", "the test is fragment_census: 45 and 46 fragments towards a host that consents";
    TestAddressBlock = "test.address_block", "the test is address_block: an address, those beside it, and others, from inside and outside";
    TestVpnProtocols = "test.vpn_protocols", "the test is vpn_protocols: first packets of tunnels and random ones of the same sizes";
    TestCalls = "test.calls", "the test is calls: STUN, TURN and media against random datagrams";
    TestDnsInterception = "test.dns_interception", "the test is dns_interception: questions to what is no resolver, over several transports";
    TestQuicMatrix = "test.quic_matrix", "the test is quic_matrix: QUIC by version, port and server name";
    TestEchMatrix = "test.ech_matrix", "the test is ech_matrix: with and without ECH, the suspected and a neutral outer name";
    TestBoxLocation = "test.box_location", "the test is box_location: the same trigger with a growing TTL";
    TestCertificates = "test.certificates", "the test is certificates: which certificate stands at an address, by name and path";
    TestHelloMatrix = "test.hello_matrix", "the test is hello_matrix: hellos of several clients' forms, with one name";

    // Numbers of arms, made by the family of the test.
    ArmsNone = "arms.none", "the test wrote no arm that was carried out";
    ArmsAllFailed = "arms.all_failed", "every arm that was carried out failed";
    ArmsAllOk = "arms.all_ok", "every arm that was carried out worked";
    ArmsSlowerThanScrambled = "arms.slower_than_scrambled", "the target's median goodput is below a third of the scrambled arm's, which is above the slow rate";
    ArmsSlowerThanNeutral = "arms.slower_than_neutral", "the target's median goodput is below a third of that with a neutral name at the same address";
    ArmsDatagramsLost = "arms.datagrams_lost", "the target, each time it was tried, loses at least a fifth of its datagrams more than random ones of the same sizes ever do";
    ArmsCutEarly = "arms.cut_early", "answers to the target ended for good within its first eight messages of data";
    ArmsCutBeforeControl = "arms.cut_before_control", "the target is cut, each time, well before random bytes in the same rhythm are: after at most half as many messages";
    ArmsAllCutAlike = "arms.all_cut_alike", "random datagrams are cut as well, each time after the same number of messages (two more or less)";
    ArmsControlLostLater = "arms.control_lost_later", "random bytes to the target's port were answered before the target and not after it";
    ArmsUdpSilent = "arms.udp_silent", "datagrams were sent and not one was answered, whatever it carried";
    ArmsTcpOk = "arms.tcp_ok", "a TCP connection to the same address carried letters there and back";
    ArmsStuckAtHandshake = "arms.stuck_at_handshake", "the target's first message had no answer";
    ArmsOfWireguard = "arms.of.wireguard", "what is tried is WireGuard";
    ArmsOfOpenvpn = "arms.of.openvpn", "what is tried is OpenVPN";
    ArmsOfIke = "arms.of.ike", "what is tried is IKE and ESP";
    ArmsOfL2tp = "arms.of.l2tp", "what is tried is L2TP";
    ArmsOfFullyEncrypted = "arms.of.fully_encrypted", "what is tried is a protocol without features, as Shadowsocks";
    ArmsOfStun = "arms.of.stun", "what is tried is STUN or TURN";
    ArmsOfMedia = "arms.of.media", "what is tried is media, after STUN or alone";
    ArmsOfDtls = "arms.of.dtls", "what is tried is DTLS as WebRTC and Snowflake do it";
    ArmsNeutralSlowerThanScrambled = "arms.neutral_slower_than_scrambled", "the median goodput with a neutral name is below a third of the scrambled arm's, which is above the slow rate, in every run";
    ArmsBursts = "arms.bursts", "the target's bytes came in bursts: in three of ten 100 ms or more came nothing";
    ArmsRoundTripGrows = "arms.round_trip_grows", "round trips beside the target's transfer were at least twice as long as before it, and 100 ms longer: a queue";
    ArmsSamePlace = "arms.same_place", "two transfers stopped for good, without FIN or RST, after about the same 5 to 150 kB";
    ArmsFullSegmentLost = "arms.full_segment_lost", "one segment of full size stayed without answer: the path may lose large packets";
    ArmsPiecesFrozen = "arms.pieces_frozen", "a hello in many small pieces stayed without answer";
    ArmsOtherNetworksPass = "arms.other_networks_pass", "a transfer from another network went on past the place where the target's stopped";
    ArmsLimitAfterSome = "arms.limit_after_some", "the first handshakes of the run were answered, and nearly all from some place on stalled after TCP had opened";
    ArmsLimitAtTcp = "arms.limit_at_tcp", "the first connections of the run opened, and nearly all from some place on stayed without answer to their SYN";
    ArmsHelloUnacknowledged = "arms.hello_unacknowledged", "the stalled hellos of the run were not even acknowledged: they did not reach the server";
    ArmsSharedAddress = "arms.shared_address", "the probe stands behind a carrier's shared address (100.64.0.0/10)";
    ArmsCameIn = "arms.came_in", "a connection that the partner opened reached the probe";
    ArmsHomeSilent = "arms.home_silent", "no place at home answered a hello, of two or more that were tried";
    ArmsAbroadSilent = "arms.abroad_silent", "no place abroad answered a hello, of two or more that were tried";
    ArmsHomeAnswers = "arms.home_answers", "a place at home answered a hello";
    ArmsAbroadAnswers = "arms.abroad_answers", "a place abroad answered a hello";
    ArmsAbroadHelloLost = "arms.abroad_hello_lost", "two or more places abroad opened TCP and answered no hello";
    ArmsPortal = "arms.portal", "a portal check was answered with a redirect or a page in the place of the one expected";
    ArmsRouterAnswers = "arms.router_answers", "a router on the way answered an echo request that ended there";
    ArmsToldUnreachable = "arms.told_unreachable", "of most places that did not answer, an ICMP message or the local stack said that there is no way";
    ArmsNamesResolve = "arms.names_resolve", "the system's resolver gave an address for a place at home or abroad";
    ArmsTrickle = "arms.trickle", "a page at home came at less than 4,000 bytes a second";
    ArmsAddressSilent = "arms.address_silent", "the address answered no SYN, on no port that was tried, and no echo request";
    ArmsNeighboursAnswer = "arms.neighbours_answer", "an address of the same /24 answered a SYN, if only with a reset";
    ArmsNeighboursSilent = "arms.neighbours_silent", "no address of the same /24 that was tried answered a SYN";
    ArmsSilentLater = "arms.silent_later", "the address answered at first, and in every later try nothing did";
    ArmsFragmentsDropped = "arms.fragments_dropped", "the whole datagram was answered, one in few fragments was not";
    ArmsFragments45 = "arms.fragments_45", "a datagram in 45 fragments was answered, one in 46 never";
    ArmsFragments46 = "arms.fragments_46", "datagrams in 45 and in 46 fragments were answered";
    ArmsDnsSecondDiffers = "arms.dns.second_differs", "one question over UDP had two answers that say different things";
    ArmsDnsNonResolver = "arms.dns.non_resolver_answers", "an answer for the neutral name came from an address that runs no resolver";
    ArmsDnsNonResolverName = "arms.dns.non_resolver_name", "an answer for the suspected name alone came from an address that runs no resolver";
    ArmsDnsUdpDenies = "arms.dns.udp_denies", "asked over UDP, twice, the resolver said that the suspected name has no address";
    ArmsDnsUdpBogon = "arms.dns.udp_bogon", "asked over UDP, twice, it gave an address that is not public";
    ArmsDnsUdpSilent = "arms.dns.udp_silent", "asked over UDP, twice, it did not answer";
    ArmsDnsUdpAddress = "arms.dns.udp_address", "asked over UDP it gave a public address";
    ArmsDnsTcpAddress = "arms.dns.tcp_address", "asked over TCP it gave a public address";
    ArmsDnsTcpDenies = "arms.dns.tcp_denies", "asked over TCP it said that the name has no address";
    ArmsDnsEncryptedAddress = "arms.dns.encrypted_address", "asked over TLS or HTTPS it gave a public address";
    ArmsDnsEncryptedDenies = "arms.dns.encrypted_denies", "asked over TLS or HTTPS it said that the name has no address";
    ArmsDnsNeutralUdp = "arms.dns.neutral_udp", "asked over UDP for the neutral name it gave a public address";
    ArmsDnsNeutralTcp = "arms.dns.neutral_tcp", "asked over TCP for the neutral name it gave a public address";
    ArmsDnsNeutralSilent = "arms.dns.neutral_silent", "asked over UDP and TCP for the neutral name it did not answer at all";
    ArmsDnsSystemDenies = "arms.dns.system_denies", "the system's resolver says that the suspected name has no address, and gives one for the neutral name";
    ArmsDnsSystemAddress = "arms.dns.system_address", "the system's resolver gives a public address for the suspected name";
    ArmsDnsWhoamiElsewhere = "arms.dns.whoami_elsewhere", "the whoami name, asked over UDP, names resolvers of other networks (/16, /32) than over TCP";
    ArmsResetInjected = "arms.reset_injected", "a reset of the target came sooner than four fifths of a round trip, or with another TTL than the server's SYN/ACK";
    ArmsResetOfServer = "arms.reset_of_server", "every reset of the target took a round trip and bore the server's TTL, as far as the TTL is known";
    ArmsTargetAcknowledged = "arms.target_acknowledged", "the target's hello was acknowledged, and nothing more came";
    ArmsTargetUnacknowledged = "arms.target_unacknowledged", "the target's hello was never acknowledged";
    ArmsPlaceFound = "arms.place_found", "at some TTL short of the server the target's hello and the neutral one fare differently";
    ArmsOfTelegramHello = "arms.of.telegram_hello", "what is tried is the hello of Telegram's proxies";
    ArmsOfLargeHello = "arms.of.large_hello", "what is tried is a hello over two segments";
    ArmsLargeControlFails = "arms.large_control_fails", "what is tried is a hello over two segments, and one of Chrome's of that size failed at least once";
    ArmsPartlyAcknowledged = "arms.partly_acknowledged", "of a target's hello that nothing answered a part was acknowledged, and the rest never";
    ArmsStateAuthority = "arms.state_authority", "the target's chain bears a state's authority";
}

/// Words of the bitset; 640 signs fit.
pub(crate) const WORDS: usize = 10;
const _: () = assert!(Sign::ALL.len() <= WORDS * 64, "the bitset holds every sign");

/// A set of signs, or of rules: one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs([u64; WORDS]);

impl Signs {
    /// Adds a sign.
    pub fn add(&mut self, sign: Sign) {
        self.insert(usize::from(sign.0));
    }

    /// Adds a sign if something holds.
    pub fn add_if(&mut self, holds: bool, sign: Sign) {
        if holds {
            self.add(sign);
        }
    }

    /// Whether it holds a sign.
    pub fn has(&self, sign: Sign) -> bool {
        self.contains(usize::from(sign.0))
    }

    /// The signs, in order.
    pub fn iter(&self) -> impl Iterator<Item = Sign> + '_ {
        Sign::ALL.iter().copied().filter(|sign| self.has(*sign))
    }

    /// Both sets together.
    pub fn with(mut self, other: Self) -> Self {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
        self
    }

    pub(crate) fn insert(&mut self, bit: usize) {
        if let Some(word) = self.0.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    pub(crate) fn contains(&self, bit: usize) -> bool {
        self.0.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    pub(crate) fn holds_all(&self, mask: &Self) -> bool {
        // No early exit: so the words are compared several at a time.
        self.0.iter().zip(mask.0).fold(0, |missing, (own, asked)| missing | (asked & !own)) == 0
    }

    pub(crate) fn holds_any(&self, mask: &Self) -> bool {
        self.0.iter().zip(mask.0).fold(0, |shared, (own, asked)| shared | (asked & own)) != 0
    }

    pub(crate) fn bits(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    at * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_has_a_name_of_its_own_and_a_documented_meaning() {
        for (position, sign) in Sign::ALL.iter().enumerate() {
            assert_eq!(usize::from(sign.0), position);
            assert!(sign.doc().len() > 8, "{}", sign.name());
            assert_eq!(
                Sign::ALL.iter().filter(|other| other.name() == sign.name()).count(),
                1,
                "{}",
                sign.name()
            );
        }
    }

    #[test]
    fn a_sign_of_an_arm_is_named_by_role_and_ending() {
        for role in arms::Role::ALL {
            for ending in arms::Ending::ALL {
                let name = format!("arm.{}.{}", role.as_str(), ending.as_str());
                assert_eq!(Sign::arm(*role, *ending).name(), name);
            }
        }
    }

    #[test]
    fn a_set_gives_back_what_was_put_in() {
        let mut set = Signs::default();
        let (first, last) = (Sign::ALL[0], *Sign::ALL.last().unwrap());
        set.add(last);
        set.add(first);
        assert_eq!(set.iter().collect::<Vec<_>>(), [first, last]);
        assert_eq!(set.bits().collect::<Vec<_>>(), [0, Sign::ALL.len() - 1]);
        assert!(set.holds_all(&set) && !Signs::default().holds_any(&set));
    }
}
