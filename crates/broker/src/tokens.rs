//! OIDC tokens: checked at ingress, sent to subscribers that ask for them. `wire` gives what knows
//! the API server's keys; without it nothing is authenticated.

use futures_util::future::BoxFuture;

/// Makes and checks tokens of service accounts.
pub trait Tokens: Send + Sync + 'static {
    /// The subject of `token` (`system:serviceaccount:NAMESPACE:NAME`), if it is valid now and for
    /// `audience`; else why not.
    fn verify(&self, token: &str, audience: &str) -> BoxFuture<'static, Result<String, String>>;

    /// A token of `service_account` (`NAMESPACE/NAME`) for `audience`.
    fn issue(
        &self,
        service_account: &str,
        audience: &str,
    ) -> BoxFuture<'static, Result<String, String>>;
}

/// An instance without identities.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoTokens;

impl Tokens for NoTokens {
    fn verify(&self, _: &str, _: &str) -> BoxFuture<'static, Result<String, String>> {
        Box::pin(std::future::ready(Err(
            "this instance checks no tokens".into()
        )))
    }

    fn issue(&self, _: &str, _: &str) -> BoxFuture<'static, Result<String, String>> {
        Box::pin(std::future::ready(Err(
            "this instance makes no tokens".into()
        )))
    }
}
