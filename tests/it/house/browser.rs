//! A browser at the console: it keeps its cookie, and posts the forms of the pages that it saw.

use super::desk::Desk;

/// A browser without script.
pub(crate) struct Browser {
    client: reqwest::Client,
    url: String,
    pub(crate) cookie: Option<String>,
    given: String,
}

impl Browser {
    pub(crate) fn new(desk: &Desk) -> Self {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self { client, url: desk.url.clone(), cookie: None, given: String::new() }
    }

    /// One that has signed in with this key.
    pub(crate) async fn signed_in(desk: &Desk, key: &str) -> Self {
        let mut browser = Self::new(desk);
        assert_eq!(browser.post("/sign-in", &[("key", key)], &[]).await.0, 303);
        browser
    }

    async fn ask(&mut self, request: reqwest::RequestBuilder) -> reqwest::Response {
        let request = match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        };
        let answer = request.send().await.unwrap();
        if let Some(given) = answer.headers().get("set-cookie") {
            given.to_str().unwrap().clone_into(&mut self.given);
            self.cookie = self.given.split(';').next().map(str::to_owned);
        }
        answer
    }

    /// The last cookie that it was given, with its flags.
    pub(crate) fn given(&self) -> String {
        self.given.clone()
    }

    /// What an address answers: its status, and its page or where it leads.
    pub(crate) async fn open(&mut self, path: &str) -> (u16, String) {
        let request = self.client.get(format!("{}{path}", self.url));
        told(self.ask(request).await).await
    }

    /// A page that has to be there.
    pub(crate) async fn page(&mut self, path: &str) -> String {
        let (status, page) = self.open(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        page
    }

    /// What goes with an answer.
    pub(crate) async fn headers(&mut self, path: &str) -> reqwest::header::HeaderMap {
        let request = self.client.get(format!("{}{path}", self.url));
        self.ask(request).await.headers().clone()
    }

    /// Posts fields, with these headers.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> (u16, String) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.client.post(format!("{}{path}", self.url)).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        told(self.ask(request).await).await
    }

    /// Sends a form of a page, with what somebody filled in.
    pub(crate) async fn send(&mut self, path: &str, page: &str, filled: &[(&str, &str)]) -> (u16, String) {
        let token = Self::hidden(page, "csrf");
        let fields = [&[("csrf", token.as_str())], filled].concat();
        self.post(path, &fields, &[("sec-fetch-site", "same-origin")]).await
    }

    /// The value of a hidden field.
    pub(crate) fn hidden(page: &str, name: &str) -> String {
        Self::between(page, &format!("name=\"{name}\" value=\""), "\"")
    }

    /// What stands between two texts.
    pub(crate) fn between(page: &str, before: &str, after: &str) -> String {
        let found = page.split_once(before).and_then(|(_, rest)| rest.split_once(after));
        found.unwrap_or_else(|| panic!("no {before:?} in {page}")).0.to_owned()
    }
}

async fn told(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let to = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
    let page = answer.text().await.unwrap();
    (status, to.unwrap_or(page))
}
