//! Looking at a running sandbox from outside: is it one, and what does it hold for true.

use std::time::Duration;

use serde_json::Value;

/// What a sandbox calls itself.
const SERVICE: &str = "orderfleet-sandbox";

/// The root of the server that an API's base URL is on.
fn root(api_base: &str) -> Option<reqwest::Url> {
    let mut url = reqwest::Url::parse(api_base).ok()?;
    url.set_path("/");
    url.set_query(None);
    Some(url)
}

/// The sandbox behind a provider's base URL; none where something else answers there, or nobody.
pub async fn find(api_base: &str, within: Duration) -> Option<reqwest::Url> {
    let root = root(api_base)?;
    // A sandbox is on this machine or near it, and speaks plain HTTP: a provider's own address is never asked.
    if root.scheme() != "http" {
        return None;
    }
    let health = ask(root.join("_sandbox/health").ok()?, within).await?;
    (health["service"] == SERVICE).then_some(root)
}

/// Everything that the sandbox behind this base URL holds for true.
pub async fn truth(api_base: &str, within: Duration) -> Option<Value> {
    let root = find(api_base, within).await?;
    ask(root.join("_sandbox/truth").ok()?, within).await
}

async fn ask(url: reqwest::Url, within: Duration) -> Option<Value> {
    let client = reqwest::Client::builder().timeout(within).no_proxy().build().ok()?;
    client.get(url).send().await.ok()?.error_for_status().ok()?.json().await.ok()
}
