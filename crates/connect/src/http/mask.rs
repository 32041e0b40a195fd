//! Keeps secrets out of everything that is shown or stored.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dil_model::secret::{Secret, SecretStore};
use dil_model::{Error, Result};

/// What a secret is shown as.
const MASK: &str = "***";

/// Query parameters that hold credentials wherever they come from, a server's own `next` URL included.
const CREDENTIAL_PARAMETERS: [&str; 9] = [
    "access_token",
    "api_key",
    "apikey",
    "client_secret",
    "password",
    "sig",
    "signature",
    "x-amz-security-token",
    "x-amz-signature",
];

/// A piece of a secret of at least this length is masked too: messages cut the values that they show.
const PIECE_BYTES: usize = 8;

/// A secret store that remembers what it gave away, so that it can be taken out of URLs and of what servers echo.
pub(crate) struct KnownSecrets {
    store: Arc<dyn SecretStore>,
    known: Mutex<Vec<Known>>,
}

struct Known {
    /// The name in the secret store; none for what the flow file holds in clear, such as an API key from `vars`.
    name: Option<String>,
    /// The text as it is, and as URLs and JSON spell it.
    spellings: Vec<String>,
}

impl KnownSecrets {
    pub(crate) fn new(store: Arc<dyn SecretStore>) -> Self {
        Self { store, known: Mutex::new(Vec::new()) }
    }

    /// Remembers a credential that has no name.
    pub(crate) fn remember(&self, text: &str) {
        self.add(None, text);
    }

    /// An error without any secret in it, nor a piece of one.
    pub(crate) fn mask_error(&self, mut error: Error) -> Error {
        let mask = |text: &str| self.mask_pieces(&self.mask(text));
        error.message = mask(&error.message);
        error.hint = error.hint.as_deref().map(mask);
        for place in &mut error.context {
            *place = mask(place);
        }
        error
    }

    /// A text without longer pieces of secrets.
    fn mask_pieces(&self, text: &str) -> String {
        let known = self.known();
        let pieces: HashSet<&[u8]> = known
            .iter()
            .flat_map(|known| &known.spellings)
            .flat_map(|spelling| spelling.as_bytes().windows(PIECE_BYTES))
            .collect();
        let mut hidden = vec![false; text.len()];
        for (at, piece) in text.as_bytes().windows(PIECE_BYTES).enumerate() {
            if pieces.contains(piece) {
                hidden[at..at + PIECE_BYTES].fill(true);
            }
        }
        let mut masked = String::with_capacity(text.len());
        let mut was_hidden = false;
        for (at, c) in text.char_indices() {
            // A character is hidden if any byte of it is.
            let is_hidden = hidden[at..at + c.len_utf8()].contains(&true);
            match (was_hidden, is_hidden) {
                (false, true) => masked.push_str(MASK),
                (_, false) => masked.push(c),
                (true, true) => {}
            }
            was_hidden = is_hidden;
        }
        masked
    }

    /// A text from outside without any secret in it.
    pub(crate) fn mask(&self, text: &str) -> String {
        let known = self.known();
        let mut spellings: Vec<&str> =
            known.iter().flat_map(|known| &known.spellings).map(String::as_str).collect();
        // The longest first: a secret may hold another one.
        spellings.sort_unstable_by_key(|spelling| std::cmp::Reverse(spelling.len()));
        let mut masked = text.to_owned();
        for spelling in spellings {
            if masked.contains(spelling) {
                masked = masked.replace(spelling, MASK);
            }
        }
        masked
    }

    /// A URL without any secret in it.
    pub(crate) fn mask_url(&self, url: &url::Url) -> String {
        let mut shown = url.clone();
        let is_credential = |name: &str| CREDENTIAL_PARAMETERS.contains(&name.to_ascii_lowercase().as_str());
        if url.query_pairs().any(|(name, _)| is_credential(&name)) {
            let mut pairs = shown.query_pairs_mut();
            pairs.clear();
            for (name, value) in url.query_pairs() {
                let value = if is_credential(&name) { MASK } else { &value };
                pairs.append_pair(&name, value);
            }
        }
        self.mask(shown.as_str()).replace("%2A%2A%2A", MASK)
    }

    /// A URL that can be stored: named secrets in it become references.
    pub(crate) fn fold(&self, url: &str) -> String {
        // What already looks like a reference was written by the server, who must not choose what is resolved.
        let mut folded = url.replace("${", "%24{");
        for known in self.known().iter() {
            if let Some(name) = &known.name {
                for spelling in &known.spellings {
                    folded = folded.replace(spelling.as_str(), &format!("${{secret:{name}}}"));
                }
            }
        }
        folded
    }

    /// The URL that was folded.
    ///
    /// # Errors
    /// `Secret` if a secret is no longer there.
    pub(crate) fn unfold(&self, folded: &str) -> Result<String> {
        let mut url = String::with_capacity(folded.len());
        let mut rest = folded;
        while let Some((before, after)) = rest.split_once("${secret:") {
            let Some((name, after)) = after.split_once('}') else { break };
            url.push_str(before);
            url.push_str(&in_query(self.secret(name)?.expose()));
            rest = after;
        }
        url.push_str(rest);
        Ok(url)
    }

    fn add(&self, name: Option<&str>, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut known = self.known();
        if known.iter().any(|known| known.name.as_deref() == name && known.spellings[0] == text) {
            return;
        }
        let escaped = serde_json::Value::from(text).to_string();
        let percent =
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let mut spellings = vec![text.to_owned()];
        for spelling in [in_query(text), percent, escaped.trim_matches('"').to_owned()] {
            if !spelling.is_empty() && !spellings.contains(&spelling) {
                spellings.push(spelling);
            }
        }
        known.push(Known { name: name.map(str::to_owned), spellings });
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_query(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

impl SecretStore for KnownSecrets {
    fn secret(&self, name: &str) -> Result<Secret> {
        let secret = self.store.secret(name)?;
        self.add(Some(name), secret.expose());
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl SecretStore for Fixed {
        fn secret(&self, _: &str) -> Result<Secret> {
            Ok(Secret::new("s3 cr/t\"x"))
        }
    }

    fn known() -> KnownSecrets {
        let known = KnownSecrets::new(Arc::new(Fixed));
        known.secret("KEY").unwrap();
        known
    }

    #[test]
    fn masks_every_spelling() {
        let text = r#"a s3 cr/t"x b s3+cr%2Ft%22x c {"k":"s3 cr/t\"x"} d s3%20cr%2Ft%22x"#;
        assert_eq!(known().mask(text), r#"a *** b *** c {"k":"***"} d ***"#);
    }

    #[test]
    fn an_error_shows_no_secret_and_no_piece_of_one() {
        let known = known();
        known.remember("eyJhbGciOiJIUzI1NiJ9.cGF5bG9hZA.äöüäöü");
        let error = Error::new(dil_model::ErrorKind::Type, "json/type", "its value is `eyJhbGciOiJIUzI1…`")
            .hint("see s3 cr/t\"x")
            .at("row 1: G9hZA.äö, s3+cr%2Ft%22x")
            .at("page 1");
        let masked = known.mask_error(error);
        assert_eq!(masked.message, "its value is `***…`");
        assert_eq!(masked.hint.as_deref(), Some("see ***"));
        assert_eq!(masked.context, ["row 1: ***, ***", "page 1"]);
    }

    #[test]
    fn masks_credentials_in_the_query_of_any_url() {
        let url = url::Url::parse("https://h/p?a=1&access_token=foreign&b=2").unwrap();
        assert_eq!(known().mask_url(&url), "https://h/p?a=1&access_token=***&b=2");
    }

    #[test]
    fn a_stored_url_holds_references_instead_of_secrets() {
        let url = "https://h/p?k=s3+cr%2Ft%22x&page=2";
        let folded = known().fold(url);
        assert_eq!(folded, "https://h/p?k=${secret:KEY}&page=2");
        assert_eq!(known().unfold(&folded).unwrap(), url);
    }

    #[test]
    fn a_server_cannot_ask_for_a_secret_through_a_stored_url() {
        let folded = known().fold("https://h/p?k=${secret:OTHER}");
        assert!(!known().unfold(&folded).unwrap().contains("s3"), "{folded}");
    }
}
