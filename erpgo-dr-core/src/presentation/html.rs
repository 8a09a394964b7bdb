//! What every page has: one file without scripts, nothing fetched, light and dark, from a phone to paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::escape::clean;

/// The looks that all pages share.
const STYLE: &str = include_str!("style.css");
/// Nothing is fetched and nothing runs, even if something got through.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Makes a whole page. `style` comes behind what all pages share.
pub(crate) fn page(title: &str, style: &str, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (clean(title)) }
                style { (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body { main { (main) } }
        }
    }
}

/// A figure beside what was to be reached.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) beside: String,
    pub(crate) met: Option<bool>,
}

impl Figure {
    pub(crate) fn to_html(&self) -> Markup {
        html! {
            div class=(format!("figure {}", judged(self.met))) {
                p class="name" { (self.name) }
                p class="value" { (clean(&self.value)) }
                p class="beside" { (clean(&self.beside)) }
            }
        }
    }
}

/// Returns the class of something that is as it should be, or not, or that nobody judges.
pub(crate) fn judged(good: Option<bool>) -> &'static str {
    match good {
        Some(true) => "good",
        Some(false) => "bad",
        None => "plain",
    }
}
