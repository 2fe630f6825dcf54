//! The pages of the samples: short texts of our own, of the length that a site has.

/// A page with this title, filled to `bytes`.
pub fn page(title: &str, bytes: usize) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n"
    );
    let tail = "</body>\n</html>\n";
    while page.len() + tail.len() < bytes {
        page.push_str("<p>This page stands in for the real one in Okno's samples.</p>\n");
    }
    page.push_str(tail);
    page
}

/// What a Russian provider shows instead of a blocked page. The wording is ours; the link to the public
/// register is what such pages share.
pub fn block_page() -> String {
    "<!doctype html>\n<html lang=\"ru\">\n<head><meta charset=\"utf-8\"><title>Страница недоступна</title></head>\n<body>\n\
     <h1>Эта страница закрыта решением ведомства</h1>\n<p>Основание: 149-ФЗ. Реестр: \
     <a href=\"http://eais.rkn.gov.ru/\">eais.rkn.gov.ru</a></p>\n</body>\n</html>\n"
        .to_owned()
}

/// A challenge page of a CDN.
pub fn challenge_page() -> String {
    "<!doctype html>\n<html lang=\"en\">\n<head><title>Just a moment...</title></head>\n<body>\n\
     <form id=\"challenge-form\" action=\"/?__cf_chl=1\"><p>One step before you continue.</p></form>\n</body>\n</html>\n"
        .to_owned()
}

/// A server's own refusal to visitors from some countries.
pub fn refusal_page() -> String {
    "<!doctype html>\n<html lang=\"en\">\n<head><title>Not available here</title></head>\n<body>\n\
     <p>This service is not offered in your region.</p>\n</body>\n</html>\n"
        .to_owned()
}
