//! Who issues ServiceAccount tokens, and how others verify them: the OpenID discovery document and
//! the key set, as `--service-account-issuer` has them on a cluster.

use serde_json::json;

use super::{Body, Reply};
use crate::auth::token::ISSUER;
use crate::core::Core;

const KEYS: &str = "/openid/v1/jwks";

/// The answer, if `path` is one of the two.
pub(super) fn answer(core: &Core, path: &str) -> Option<Reply> {
    match path {
        "/.well-known/openid-configuration" => Some(Reply::value(
            200,
            &json!({
                "issuer": ISSUER,
                "jwks_uri": format!("{ISSUER}{KEYS}"),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }),
        )),
        KEYS => {
            let keys = json!({"keys": [core.pki.account_key()]});
            let body = Body::full(keys.to_string());
            Some(Reply::new(200, "application/jwk-set+json", body))
        }
        _ => None,
    }
}
