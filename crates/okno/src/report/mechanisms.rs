//! What each mechanism of the taxonomy means, for somebody who has never seen a packet.
//!
//! One clause per node and language, without capital or full stop, so that it fits after a colon ("… is
//! blocked: …") and, capitalised, into a table. A clause says what was seen, never who did it or why.

use super::Lang;

/// The clause for a dot path. A path that the taxonomy lacks is answered by its nearest known ancestor;
/// `None` when there is none.
pub fn clause(path: &str, lang: Lang) -> Option<&'static str> {
    let mut path = path;
    loop {
        if let Some((_, en, ru)) = CLAUSES.iter().find(|row| row.0 == path) {
            return Some(lang.pick(en, ru));
        }
        path = path.rsplit_once('.')?.0;
    }
}

/// (path, English, Russian), in the order of `okno_model::TAXONOMY`.
#[rustfmt::skip]
const CLAUSES: &[(&str, &str, &str)] = &[
    ("dns", "looking up the name is interfered with",
        "вмешательство в поиск адреса по имени (DNS)"),
    ("dns.injection", "the name lookup gets a false answer",
        "на запрос имени приходит ложный ответ"),
    ("dns.injection.blockpage", "the name lookup gets a false answer that leads to a known block page",
        "на запрос имени приходит ложный ответ, ведущий на известную страницу-заглушку"),
    ("dns.injection.bogon", "the name lookup gets a false answer: an address that does not exist on the public internet",
        "на запрос имени приходит ложный ответ: адрес, которого нет в общедоступном интернете"),
    ("dns.injection.other", "the name lookup gets a false answer: an address that is not the site’s",
        "на запрос имени приходит ложный ответ: чужой адрес"),
    ("dns.nxdomain", "the name lookup is told that the name does not exist, though it does",
        "на запрос имени отвечают, что такого имени нет, хотя оно есть"),
    ("dns.no_answer", "the name lookup gets an empty answer, though the name has addresses",
        "на запрос имени приходит пустой ответ, хотя адреса у имени есть"),
    ("dns.redirect", "the name lookup is turned to another resolver, which answers in the place of the one asked",
        "запрос имени уводят к другому серверу, и тот отвечает вместо спрошенного"),
    ("dns.refused", "the resolver refuses to look up the name",
        "сервер имён отказывается отвечать на запрос этого имени"),
    ("dns.servfail", "the resolver answers with an error, though the name resolves elsewhere",
        "сервер имён отвечает ошибкой, хотя в других местах имя находится"),
    ("dns.timeout", "the name lookup is never answered",
        "на запрос имени ответ не приходит вовсе"),
    ("tcp", "connections to its address are interfered with",
        "вмешательство в соединения с его адресом (TCP)"),
    ("tcp.refused", "the connection is refused at the first packet",
        "в соединении отказывают на первом же пакете"),
    ("tcp.reset", "the connection is reset while it is being set up",
        "соединение сбрасывают, пока оно устанавливается"),
    ("tcp.timeout", "the first packet to its address is never answered",
        "первый пакет к его адресу остаётся без ответа"),
    ("tcp.packet_budget", "the connection freezes after a small amount of data",
        "соединение замирает после небольшого объёма данных"),
    ("tcp.connection_limit", "the first connections pass, further ones fail for a while",
        "первые соединения проходят, следующие какое-то время не удаются"),
    ("tcp.first_segment", "the first piece of a larger message fares otherwise than the rest",
        "с первой частью большого сообщения поступают иначе, чем с остальными"),
    ("tcp.protocol_filter", "only the port’s own protocol is let through",
        "пропускают только протокол, положенный этому порту"),
    ("tls", "setting up the encrypted connection (TLS) is interfered with",
        "вмешательство в установку шифрованного соединения (TLS)"),
    ("tls.eof", "the connection is closed while encryption (TLS) is being set up",
        "соединение закрывают, пока устанавливается шифрование (TLS)"),
    ("tls.eof.sni", "the connection is closed as soon as the site’s name is sent (TLS)",
        "соединение закрывают, как только отправлено имя сайта (TLS)"),
    ("tls.fin", "the connection is closed by a forged farewell while encryption (TLS) is being set up",
        "соединение закрывают поддельным прощанием, пока устанавливается шифрование (TLS)"),
    ("tls.fin.sni", "the connection is closed by a forged farewell as soon as the site’s name is sent (TLS)",
        "соединение закрывают поддельным прощанием, как только отправлено имя сайта (TLS)"),
    ("tls.mitm", "somebody in between presents a certificate that is not the site’s",
        "кто-то посередине предъявляет сертификат, который сайту не принадлежит"),
    ("tls.mitm.ca_signed", "somebody in between presents a validly signed certificate of an unexpected name or issuer",
        "кто-то посередине предъявляет заверенный сертификат с неожиданным именем или издателем"),
    ("tls.mitm.self_signed", "somebody in between presents a certificate that no trusted authority signed",
        "кто-то посередине предъявляет сертификат, не заверенный ни одним доверенным центром"),
    ("tls.reset", "the connection is reset while encryption (TLS) is being set up",
        "соединение сбрасывают, пока устанавливается шифрование (TLS)"),
    ("tls.reset.sni", "the connection is reset as soon as the site’s name is sent (TLS)",
        "соединение сбрасывают, как только отправлено имя сайта (TLS)"),
    ("tls.reset.esni", "the connection is reset because the site’s name is sent encrypted (ESNI)",
        "соединение сбрасывают, потому что имя сайта отправлено зашифрованным (ESNI)"),
    ("tls.reset.fingerprint", "the connection is reset because of the way the program sets up encryption (TLS)",
        "соединение сбрасывают из-за того, как программа устанавливает шифрование (TLS)"),
    ("tls.reset.other", "the connection is reset while encryption (TLS) is being set up, and not because of the site’s name",
        "соединение сбрасывают, пока устанавливается шифрование (TLS), и не из-за имени сайта"),
    ("tls.alert", "setting up encryption (TLS) breaks with an error that others do not get",
        "установка шифрования (TLS) обрывается ошибкой, которой в других местах нет"),
    ("tls.throttle", "the encrypted connection is held down in speed",
        "скорость шифрованного соединения искусственно занижена"),
    ("tls.throttle.sni", "the connection is held down in speed because of the site’s name (TLS)",
        "скорость соединения искусственно занижена из-за имени сайта (TLS)"),
    ("tls.timeout", "the connection goes silent while encryption (TLS) is being set up",
        "соединение замолкает, пока устанавливается шифрование (TLS)"),
    ("tls.timeout.sni", "the connection goes silent as soon as the site’s name is sent (TLS)",
        "соединение замолкает, как только отправлено имя сайта (TLS)"),
    ("tls.timeout.ech", "the connection goes silent when the site’s name is sent encrypted (ECH)",
        "соединение замолкает, когда имя сайта отправляется зашифрованным (ECH)"),
    ("tls.timeout.esni", "the connection goes silent when the site’s name is sent encrypted (ESNI)",
        "соединение замолкает, когда имя сайта отправляется зашифрованным (ESNI)"),
    ("tls.timeout.fingerprint", "the connection goes silent because of the way the program sets up encryption (TLS)",
        "соединение замолкает из-за того, как программа устанавливает шифрование (TLS)"),
    ("tls.timeout.decoy", "the connection goes silent after decoy packets",
        "соединение замолкает после пакетов-обманок"),
    ("quic", "QUIC, the newer transport of the web, is interfered with",
        "вмешательство в QUIC, новый транспорт веба"),
    ("quic.timeout", "the first QUIC packet is never answered",
        "первый пакет QUIC остаётся без ответа"),
    ("quic.timeout.sni", "the first QUIC packet is never answered when it carries the site’s name",
        "первый пакет QUIC остаётся без ответа, если в нём имя сайта"),
    ("quic.timeout.version", "the first QUIC packet is never answered, whatever name it carries",
        "первый пакет QUIC остаётся без ответа, какое бы имя в нём ни было"),
    ("quic.throttle", "the QUIC connection is held down in speed",
        "скорость соединения QUIC искусственно занижена"),
    ("quic.throttle.sni", "the QUIC connection is held down in speed because of the site’s name",
        "скорость соединения QUIC искусственно занижена из-за имени сайта"),
    ("quic.reset", "the QUIC connection is broken off while it is being set up",
        "соединение QUIC обрывают, пока оно устанавливается"),
    ("http", "the exchange of request and page (HTTP) is interfered with",
        "вмешательство в обмен запросом и страницей (HTTP)"),
    ("http.blockpage", "a known block page comes instead of the site",
        "вместо сайта приходит известная страница-заглушка"),
    ("http.eof", "the connection is closed after the request",
        "соединение закрывают после запроса"),
    ("http.error", "the request is refused with an error page that others do not get",
        "на запрос отвечают страницей ошибки, которой в других местах нет"),
    ("http.redirect", "the request is redirected to a block page",
        "запрос перенаправляют на страницу-заглушку"),
    ("http.reset", "the connection is reset after the request",
        "соединение сбрасывают после запроса"),
    ("http.reset.host", "the connection is reset as soon as the request names the site (HTTP)",
        "соединение сбрасывают, как только запрос назвал сайт (HTTP)"),
    ("http.tampering", "the request or the answer is altered on the way",
        "запрос или ответ изменяют по пути"),
    ("http.timeout", "the request is never answered",
        "запрос остаётся без ответа"),
    ("http.timeout.host", "the request is never answered because it names the site (HTTP)",
        "запрос остаётся без ответа, потому что называет сайт (HTTP)"),
    ("http.throttle", "the page is held down in speed",
        "скорость загрузки страницы искусственно занижена"),
    ("http.throttle.host", "the page is held down in speed because of the site’s name (HTTP)",
        "скорость загрузки страницы искусственно занижена из-за имени сайта (HTTP)"),
    ("ip", "its addresses are interfered with",
        "вмешательство в маршруты к его адресам (IP)"),
    ("ip.unreachable", "the network says that there is no route to its address",
        "сеть сообщает, что маршрута к его адресу нет"),
    ("ip.prefix_null_route", "a whole block of addresses has no route",
        "маршрута нет к целому блоку адресов"),
    ("ip.drop", "packets to its address disappear",
        "пакеты к его адресу пропадают"),
    ("ip.ban", "packets to its address disappear some time after it was used",
        "пакеты к его адресу начинают пропадать через некоторое время после обращения к нему"),
    ("vpn", "a VPN protocol is interfered with",
        "вмешательство в работу протокола VPN"),
    ("vpn.ike", "IPsec connections (IKE) do not come about",
        "соединения IPsec (IKE) не устанавливаются"),
    ("vpn.l2tp", "L2TP connections do not come about",
        "соединения L2TP не устанавливаются"),
    ("vpn.openvpn", "OpenVPN connections do not come about",
        "соединения OpenVPN не устанавливаются"),
    ("vpn.wireguard", "WireGuard connections do not come about",
        "соединения WireGuard не устанавливаются"),
    ("vpn.psiphon", "Psiphon cannot connect",
        "Psiphon не может подключиться"),
    ("vpn.riseup", "RiseupVPN cannot connect",
        "RiseupVPN не может подключиться"),
    ("vpn.shadowsocks", "Shadowsocks connections do not come about",
        "соединения Shadowsocks не устанавливаются"),
    ("vpn.fully_encrypted", "connections that look like nothing in particular do not come about",
        "соединения, ни на что не похожие, не устанавливаются"),
    ("tor", "Tor is interfered with",
        "вмешательство в работу Tor"),
    ("tor.bridge", "Tor’s bridges cannot be reached",
        "мосты Tor недоступны"),
    ("tor.directory", "Tor’s directory authorities and relays cannot be reached",
        "серверы каталога и узлы Tor недоступны"),
    ("tor.snowflake", "Tor cannot connect through Snowflake",
        "Tor не может подключиться через Snowflake"),
    ("messenger", "the messenger is interfered with",
        "вмешательство в работу мессенджера"),
    ("messenger.endpoints", "the messenger’s servers cannot be reached",
        "серверы мессенджера недоступны"),
    ("messenger.mtproxy", "the messenger’s proxies (MTProxy) do not work",
        "прокси мессенджера (MTProxy) не работают"),
    ("messenger.registration", "the messenger’s registration service cannot be reached",
        "служба регистрации мессенджера недоступна"),
    ("messenger.web", "the messenger’s web version cannot be reached",
        "веб-версия мессенджера недоступна"),
    ("calls", "voice and video calls are interfered with",
        "вмешательство в голосовые и видеозвонки"),
    ("calls.stun", "the servers that set up calls (STUN, TURN) cannot be reached",
        "серверы, через которые устанавливаются звонки (STUN, TURN), недоступны"),
    ("calls.turn", "the servers that relay calls (TURN) cannot be reached",
        "серверы, передающие звонки (TURN), недоступны"),
    ("whitelist", "only listed destinations can be reached",
        "доступны только адреса из разрешённого списка"),
    ("whitelist.cidr", "only listed addresses can be reached",
        "доступны только разрешённые IP-адреса"),
    ("whitelist.sni", "only sites of listed names can be reached",
        "доступны только сайты с разрешёнными именами"),
    ("whitelist.both", "only listed names at listed addresses can be reached",
        "доступны только разрешённые имена на разрешённых адресах"),
    ("blackout", "nothing at all can be reached",
        "недоступно всё"),
    ("blackout.throttle", "hardly anything gets through",
        "почти ничего не проходит"),
    ("degradation", "packets of one protocol are lost at random",
        "пакеты одного протокола теряются случайным образом"),
    ("overload", "the filter itself fails",
        "сбоит само фильтрующее устройство"),
    ("overload.drop", "packets are lost because the filter is overloaded",
        "пакеты теряются, потому что фильтр перегружен"),
    ("overload.fail_open", "nothing is filtered for a while",
        "какое-то время ничего не фильтруется"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use okno_model::TAXONOMY;

    #[test]
    fn every_mechanism_has_a_plain_sentence_in_both_languages() {
        for node in TAXONOMY {
            let row = CLAUSES.iter().find(|row| row.0 == node.path);
            let (_, en, ru) = row.unwrap_or_else(|| panic!("{} has no text", node.path));
            assert!(en.is_ascii() || en.contains('’'), "{en}");
            assert!(ru.chars().any(|c| ('а'..='я').contains(&c)), "{ru}");
            assert!(!en.ends_with('.') && !ru.ends_with('.'), "{}: a clause has no full stop", node.path);
        }
        assert_eq!(CLAUSES.len(), TAXONOMY.len(), "a text for a mechanism that does not exist");
    }

    #[test]
    fn an_unknown_path_is_answered_by_its_nearest_ancestor() {
        assert_eq!(clause("tls.reset.weather", Lang::En), clause("tls.reset", Lang::En));
        assert_eq!(clause("gravity.off", Lang::En), None);
    }
}
