//! `auth-provider` of a kubeconfig: only `oidc` exists any more.
//!
//! kube renews the token with the refresh token. Unlike kubectl, it does not write the answer into the kubeconfig, and
//! asks the login server without a proxy and without the kubeconfig's certificate authority for it. There is no issue
//! upstream that would end this.

use kube::config::AuthProviderConfig;

use crate::start_error::StartError;

const ID_TOKEN: &str = "id-token";
const REFRESH_TOKEN: &str = "refresh-token";
const CLIENT_SECRET: &str = "client-secret";

/// A token of 1970, `{"exp":0}`: kube takes no kubeconfig without a token, but renews an old one.
const OLD: &str = "e30.eyJleHAiOjB9.";

/// Completes the provider for kube with what client-go does not require (`plugin/pkg/client/auth/oidc/oidc.go`).
pub(super) fn complete(provider: &mut AuthProviderConfig) -> Result<(), StartError> {
    let attempt = format!("cannot use auth-provider {} of the kubeconfig", provider.name);
    // kube would run the command of one, and print its output.
    if provider.name != "oidc" {
        return Err(StartError::because(attempt, "use a credential plugin (exec)")("kubectl has dropped it too"));
    }
    let fields = &mut provider.config;
    fields.retain(|_, value| !value.is_empty());
    if !fields.contains_key(ID_TOKEN) && !fields.contains_key(REFRESH_TOKEN) {
        return Err(StartError::because(attempt, "log in again")("it has neither id-token nor refresh-token"));
    }
    fields.entry(ID_TOKEN.to_owned()).or_insert_with(|| OLD.to_owned());
    // A public client has none.
    fields.entry(CLIENT_SECRET.to_owned()).or_default();
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn completed(name: &str, config: &serde_json::Value) -> Result<serde_json::Value, String> {
        let mut provider = serde_json::from_value(json!({ "name": name, "config": config })).unwrap();
        complete(&mut provider).map_err(|error| error.to_string())?;
        Ok(json!(provider.config))
    }

    #[test]
    fn a_public_client_that_only_has_a_refresh_token_is_completed() {
        let given = json!({ "id-token": "", "refresh-token": "r", "client-id": "c" });
        let expected = json!({ "id-token": OLD, "refresh-token": "r", "client-id": "c", "client-secret": "" });
        assert_eq!(completed("oidc", &given), Ok(expected));
        let given = json!({ "id-token": "t", "client-secret": "s" });
        assert_eq!(completed("oidc", &given), Ok(given));
    }

    #[test]
    fn other_providers_and_one_without_a_token_are_refused_with_the_remedy() {
        let error = completed("gcp", &json!({ "access-token": "secret" })).unwrap_err();
        assert!(error.contains("gcp") && error.contains("credential plugin") && !error.contains("secret"), "{error}");
        assert!(
            completed("oidc", &json!({ "id-token": "" })).unwrap_err().ends_with("nor refresh-token; log in again")
        );
    }
}
