//! The words of the report in English and Russian: states, layers, reasons, categories, tests.
//!
//! Sentences stand beside the code that fills them; here are the closed lists, each tested for being complete
//! in both languages. Unknown words of an open list are shown as they are.

use okno_model::{Layer, RejectReason, State};

use super::Lang;

/// The class and the short word of a state, `silent` included. An unknown word is `insufficient`.
pub(super) fn state_class(state: &str) -> &'static str {
    match State::parse(state) {
        Some(State::Ok) => "o",
        Some(State::Down) => "d",
        Some(State::Blocked) => "b",
        Some(State::Throttled) => "t",
        Some(State::Insufficient) | None => "i",
    }
}

/// One or two words for a state.
pub(super) fn state_word(state: State, lang: Lang) -> &'static str {
    match state {
        State::Ok => lang.pick("works", "работает"),
        State::Down => lang.pick("down for everyone", "не работает ни у кого"),
        State::Blocked => lang.pick("blocked", "заблокировано"),
        State::Throttled => lang.pick("throttled", "замедлено"),
        State::Insufficient => lang.pick("cannot tell", "данных недостаточно"),
    }
}

/// What a state means, in one or two sentences.
pub(super) fn state_meaning(state: State, lang: Lang) -> &'static str {
    match state {
        State::Ok => lang.pick(
            "The target answered as it does elsewhere.",
            "Цель ответила так же, как в других местах.",
        ),
        State::Down => lang.pick(
            "The target failed here, and elsewhere too. That is its own trouble; nobody on the way is accused.",
            "Цель не ответила ни здесь, ни в других местах. Это её собственная неполадка; никого на пути к ней мы не обвиняем.",
        ),
        State::Blocked => lang.pick(
            "The target failed or was altered here, while it worked elsewhere at that time, in a way that faults of the target or of the line do not explain.",
            "Здесь цель не ответила или была подменена, а в других местах в то же время работала; неполадкой самой цели или линии это не объясняется.",
        ),
        State::Throttled => lang.pick(
            "The target answered, but its speed was held down, judged by the recorded timings and bytes.",
            "Цель ответила, но её скорость была искусственно занижена, судя по записанным временам и объёмам.",
        ),
        State::Insufficient => lang.pick(
            "There is not enough evidence to say anything. This is not “works”, and not “blocked” either.",
            "Данных недостаточно, чтобы что-либо утверждать. Это не значит «работает» и не значит «заблокировано».",
        ),
    }
}

/// A layer in words.
pub(super) fn layer_word(layer: Layer, lang: Lang) -> &'static str {
    match layer {
        Layer::Dns => lang.pick("name lookup (DNS)", "поиск адреса по имени (DNS)"),
        Layer::Tcp => lang.pick("connection (TCP)", "соединение (TCP)"),
        Layer::Tls => lang.pick("encryption (TLS)", "шифрование (TLS)"),
        Layer::Quic => lang.pick("newer web transport (QUIC)", "новый транспорт веба (QUIC)"),
        Layer::Http => lang.pick("request and page (HTTP)", "запрос и страница (HTTP)"),
        Layer::App => lang.pick("application as a whole", "приложение в целом"),
    }
}

/// What a reject reason means, and what to do about it: (English, what to do, Russian, what to do).
#[rustfmt::skip]
const REASONS: &[(RejectReason, &str, &str, &str, &str)] = &[
    (RejectReason::InvalidJson, "The line is not JSON.", "Look at the file at this line; fetch it again if it was damaged.",
        "Строка не является JSON.", "Проверьте файл в этой строке; если он повреждён, скачайте его снова."),
    (RejectReason::TruncatedJson, "The line ends in the middle of a value.", "Fetch the file again: it was cut off, or is still being written.",
        "Строка обрывается посреди значения.", "Скачайте файл снова: он обрезан или ещё пишется."),
    (RejectReason::InvalidUtf8, "Some bytes are not valid text; they were replaced.", "Nothing: the rest was kept.",
        "Некоторые байты не являются текстом; они заменены.", "Ничего: остальное сохранено."),
    (RejectReason::TooDeep, "Nested deeper than the reader goes.", "Nothing, unless there are many: then the file is no measurement data.",
        "Вложенность глубже, чем читает программа.", "Ничего, если таких мало; если много, то в файле не измерения."),
    (RejectReason::TooLong, "Longer than the reader goes.", "Nothing, unless there are many: then the file is no measurement data.",
        "Длиннее, чем читает программа.", "Ничего, если таких мало; если много, то в файле не измерения."),
    (RejectReason::WrongType, "A value of a kind that this part cannot have.", "Nothing: that part is left out, the rest was kept.",
        "Значение такого вида, какого здесь быть не может.", "Ничего: эта часть пропущена, остальное сохранено."),
    (RejectReason::NumberOutOfRange, "A number too large or too small to be true.", "Nothing: that part is left out, the rest was kept.",
        "Число слишком велико или слишком мало, чтобы быть верным.", "Ничего: эта часть пропущена, остальное сохранено."),
    (RejectReason::InvalidBase64, "Binary content that cannot be decoded.", "Nothing: that content was not compared.",
        "Двоичное содержимое не раскодируется.", "Ничего: это содержимое не сравнивалось."),
    (RejectReason::InvalidTime, "A time that is none.", "Nothing: another time of the measurement was used if it has one.",
        "Запись времени, которая временем не является.", "Ничего: взято другое время измерения, если оно есть."),
    (RejectReason::InvalidAddress, "A network address that is none.", "Nothing: that step was left out.",
        "Сетевой адрес, который адресом не является.", "Ничего: этот шаг пропущен."),
    (RejectReason::InvalidUrl, "A web address that is none.", "Nothing: the measurement was kept, without a host.",
        "Веб-адрес, который адресом не является.", "Ничего: измерение сохранено без имени узла."),
    (RejectReason::InvalidCertificate, "A certificate that cannot be read.", "Nothing: its names and dates were not checked.",
        "Сертификат, который не читается.", "Ничего: его имена и сроки не проверялись."),
    (RejectReason::DuplicateKey, "A key stands twice in one object; the last one counts.", "Nothing.",
        "Ключ стоит в одном объекте дважды; учтён последний.", "Ничего."),
    (RejectReason::TooMany, "A list longer than the reader takes; its head was kept.", "Nothing, unless the target depends on the tail.",
        "Список длиннее, чем берёт программа; его начало сохранено.", "Ничего, если важное не в конце списка."),
    (RejectReason::Missing, "A part that must be there is absent.", "Nothing: the rest was kept.",
        "Нет обязательной части.", "Ничего: остальное сохранено."),
    (RejectReason::NotAMeasurement, "Valid JSON, but no measurement.", "Leave the file out if it was given by mistake.",
        "Верный JSON, но не измерение.", "Уберите файл, если он указан по ошибке."),
    (RejectReason::DuplicateMeasurement, "A measurement that the lake already holds.", "Nothing: it is counted once.",
        "Измерение, которое в хранилище уже есть.", "Ничего: оно учтено один раз."),
    (RejectReason::CorruptStream, "The compressed file is damaged or cut short from here on.", "Fetch the file again.",
        "Сжатый файл с этого места повреждён или обрезан.", "Скачайте файл снова."),
    (RejectReason::Unreadable, "The file could not be opened or read.", "Check its path and permissions.",
        "Файл не удалось открыть или прочитать.", "Проверьте путь и права доступа."),
    (RejectReason::Bomb, "The compressed file grows beyond the limit.", "Do not trust the file, or unpack it yourself first.",
        "Сжатый файл разрастается сверх предела.", "Не доверяйте файлу или сначала распакуйте его сами."),
];

/// What a reject reason means and what to do about it; `None` for a word that is no reason.
pub(super) fn reject_reason(word: &str, lang: Lang) -> Option<(&'static str, &'static str)> {
    let (_, en, en_do, ru, ru_do) = REASONS.iter().find(|row| row.0.as_str() == word)?;
    Some((lang.pick(en, ru), lang.pick(en_do, ru_do)))
}

/// Names of the Citizen Lab's categories (citizenlab/test-lists, `00-LEGEND-new_category_codes`).
#[rustfmt::skip]
const CATEGORIES: &[(&str, &str, &str)] = &[
    ("ALDR", "alcohol and drugs", "алкоголь и наркотики"), ("REL", "religion", "религия"),
    ("PORN", "pornography", "порнография"), ("PROV", "provocative attire", "откровенная одежда"),
    ("POLR", "political criticism", "политическая критика"), ("HUMR", "human rights", "права человека"),
    ("ENV", "environment", "экология"), ("MILX", "terrorism and militants", "терроризм и боевики"),
    ("HATE", "hate speech", "язык вражды"), ("NEWS", "news", "новости"),
    ("XED", "sex education", "половое просвещение"), ("PUBH", "public health", "здравоохранение"),
    ("GMB", "gambling", "азартные игры"), ("ANON", "anonymity and circumvention", "анонимность и обход блокировок"),
    ("DATE", "online dating", "знакомства"), ("GRP", "social networks", "социальные сети"),
    ("LGBT", "LGBT+", "ЛГБТ+"), ("FILE", "file sharing", "обмен файлами"),
    ("HACK", "hacking tools", "инструменты взлома"), ("COMT", "communication tools", "средства общения"),
    ("MMED", "media sharing", "видео и музыка"), ("HOST", "hosting and blogs", "хостинг и блоги"),
    ("SRCH", "search engines", "поисковики"), ("GAME", "gaming", "игры"),
    ("CULTR", "culture", "культура"), ("ECON", "economics", "экономика"),
    ("GOVT", "government", "государство"), ("COMM", "e-commerce", "торговля"),
    ("CTRL", "control content", "контрольные сайты"), ("IGO", "international organisations", "международные организации"),
    ("MISC", "miscellaneous", "разное"),
];

/// A category in words; an unknown code as it is (not yet escaped).
pub(super) fn category(code: &str, lang: Lang) -> String {
    let known = CATEGORIES.iter().find(|row| row.0 == code);
    known.map_or_else(|| code.to_owned(), |(_, en, ru)| lang.pick(en, ru).to_owned())
}

/// What a test asks, in a few words.
#[rustfmt::skip]
const NETTESTS: &[(&str, &str, &str)] = &[
    ("web_connectivity", "websites", "сайты"), ("telegram", "Telegram", "Telegram"), ("whatsapp", "WhatsApp", "WhatsApp"),
    ("facebook_messenger", "Facebook Messenger", "Facebook Messenger"), ("signal", "Signal", "Signal"),
    ("tor", "Tor", "Tor"), ("vanilla_tor", "Tor without bridges", "Tor без мостов"), ("torsf", "Tor through Snowflake", "Tor через Snowflake"),
    ("psiphon", "Psiphon", "Psiphon"), ("riseupvpn", "RiseupVPN", "RiseupVPN"), ("openvpn", "OpenVPN", "OpenVPN"),
    ("stunreachability", "servers for calls", "серверы для звонков"), ("dnscheck", "DNS resolvers", "серверы DNS"),
    ("echcheck", "encrypted site names (ECH)", "зашифрованные имена сайтов (ECH)"),
    ("quicping", "QUIC", "QUIC"), ("simplequicping", "QUIC", "QUIC"), ("tcpping", "TCP connections", "соединения TCP"),
    ("tlsping", "TLS handshakes", "рукопожатия TLS"), ("dnsping", "DNS lookups", "запросы DNS"),
    ("tlsmiddlebox", "where TLS is cut off", "место обрыва TLS"), ("sni_blocking", "blocking by site name", "блокировка по имени сайта"),
    ("portfiltering", "blocked ports", "закрытые порты"), ("urlgetter", "single requests", "отдельные запросы"),
    ("ndt", "speed", "скорость"), ("dash", "video streaming", "потоковое видео"),
    ("http_invalid_request_line", "boxes on the path", "устройства на пути"),
    ("http_header_field_manipulation", "altered headers", "изменённые заголовки"),
    ("http_requests", "websites (before 2017)", "сайты (до 2017 года)"), ("dns_consistency", "DNS answers (before 2017)", "ответы DNS (до 2017 года)"),
    ("tcp_connect", "TCP connections (before 2017)", "соединения TCP (до 2017 года)"),
    ("browser_web", "websites in a browser", "сайты в браузере"), ("meek_fronted_requests_test", "Tor through meek", "Tor через meek"),
];

/// A test in words, where known.
pub(super) fn nettest(name: &str, lang: Lang) -> Option<&'static str> {
    NETTESTS.iter().find(|row| row.0 == name).map(|(_, en, ru)| lang.pick(en, ru))
}

/// What a missing reference table costs.
#[rustfmt::skip]
const MISSING: &[(&str, &str, &str)] = &[
    ("ip_to_network", "Whose network an address belongs to is unknown. Whether a different address is the site’s own (a content network) or a false one could often not be told.",
        "Неизвестно, чьей сети принадлежит адрес. Часто нельзя было понять, свой ли это адрес сайта (сеть доставки контента) или ложный."),
    ("bogons", "False answers that lead to non-public addresses could be recognised only in part.",
        "Ложные ответы с непубличными адресами распознавались лишь частично."),
    ("fingerprints_dns", "Addresses of known block pages were not recognised; such answers are counted as other false answers, or as undecided.",
        "Адреса известных страниц-заглушек не распознавались; такие ответы учтены как прочие ложные или остались без вывода."),
    ("fingerprints_http", "Known block pages were not recognised; such pages stayed undecided unless the comparison with the control told them apart.",
        "Известные страницы-заглушки не распознавались; такие страницы остались без вывода, если их не выдало сравнение с контролем."),
    ("test_lists", "Targets have no category.", "У целей нет категорий."),
];

/// What a missing reference table costs, where known.
pub(super) fn missing_reference(table: &str, lang: Lang) -> Option<&'static str> {
    MISSING.iter().find(|row| row.0 == table).map(|(_, en, ru)| lang.pick(en, ru))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_russian(text: &str) -> bool {
        text.chars().any(|c| ('а'..='я').contains(&c))
    }

    #[test]
    fn every_state_and_layer_has_words_in_both_languages() {
        for state in State::ALL {
            assert!(is_russian(state_word(state, Lang::Ru)) && is_russian(state_meaning(state, Lang::Ru)));
            assert!(!is_russian(state_word(state, Lang::En)) && !is_russian(state_meaning(state, Lang::En)));
        }
        for layer in Layer::ALL {
            assert!(is_russian(layer_word(layer, Lang::Ru)) && !is_russian(layer_word(layer, Lang::En)));
        }
    }

    #[test]
    fn every_reject_reason_says_what_it_means_and_what_to_do_in_both_languages() {
        for reason in RejectReason::ALL {
            let (en, en_do) = reject_reason(reason.as_str(), Lang::En).expect("every reason has a row");
            let (ru, ru_do) = reject_reason(reason.as_str(), Lang::Ru).expect("every reason has a row");
            assert!(en.ends_with('.') && en_do.ends_with('.') && !is_russian(en) && !is_russian(en_do));
            assert!(is_russian(ru) && is_russian(ru_do), "{}", reason.as_str());
        }
        assert_eq!(reject_reason("boredom", Lang::En), None);
    }

    #[test]
    fn an_unknown_state_never_looks_like_ok() {
        assert_eq!(state_class("fine"), state_class("insufficient"));
        assert_ne!(state_class("insufficient"), state_class("ok"));
        assert_ne!(state_word(State::Insufficient, Lang::En), state_word(State::Ok, Lang::En));
    }
}
