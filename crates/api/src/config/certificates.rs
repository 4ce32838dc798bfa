//! `config-certificates`: how the certificates of the installation are come by. A ConfigMap of this
//! project's own; on a cluster these are settings of cert-manager and its issuers.

use super::data::{Data, Error, Reader, require};

/// The settings of certificates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificates {
    /// `duration` in seconds: how long those of the built-in authority hold.
    pub duration_s: u64,
    /// `acme-directory-url`; empty when no authority is named.
    pub acme_directory_url: String,
    /// `acme-email`: whom that authority may write to.
    pub acme_email: String,
    /// `acme-root-certificates`: PEM certificates its server must descend from; empty for the
    /// system's.
    pub acme_root_certificates: String,
}

impl Default for Certificates {
    fn default() -> Self {
        Self {
            duration_s: 90 * 24 * 3600,
            acme_directory_url: String::new(),
            acme_email: String::new(),
            acme_root_certificates: String::new(),
        }
    }
}

impl Certificates {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-certificates";
    /// A certificate that holds no longer is renewed all the time.
    const DURATION_MIN_S: u64 = 10;

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A value that cannot be parsed or is out of bounds.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut config = Self::default();
        let reader = Reader(data);
        let mut duration = i64::try_from(config.duration_s * 1_000_000_000).unwrap_or(i64::MAX);
        reader.duration("duration", &mut duration)?;
        config.duration_s = u64::try_from(duration / 1_000_000_000).unwrap_or_default();
        require(config.duration_s >= Self::DURATION_MIN_S, || {
            let least = Self::DURATION_MIN_S;
            format!(
                "duration must be at least {least}s, but was {}s",
                config.duration_s
            )
        })?;
        reader.string("acme-directory-url", &mut config.acme_directory_url);
        reader.string("acme-email", &mut config.acme_email);
        reader.string("acme-root-certificates", &mut config.acme_root_certificates);
        let url = &config.acme_directory_url;
        require(url.is_empty() || url.starts_with("https://"), || {
            format!("acme-directory-url must begin with https://, but was {url}")
        })?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_and_what_is_not() {
        let parse = |entries: &[(&str, &str)]| {
            let data = entries
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            Certificates::parse(&data.collect()).map_err(|error| error.to_string())
        };
        assert_eq!(parse(&[]).unwrap(), Certificates::default());
        let short = parse(&[("duration", "90s"), ("acme-email", "a@example.com")]).unwrap();
        assert_eq!(
            (short.duration_s, &*short.acme_email),
            (90, "a@example.com")
        );
        let refused = parse(&[("duration", "1s")]).unwrap_err();
        assert_eq!(refused, "duration must be at least 10s, but was 1s");
        assert!(parse(&[("duration", "soon")]).is_err());
        assert!(parse(&[("acme-directory-url", "http://example.com")]).is_err());
    }
}
