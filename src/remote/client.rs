//! How requests are sent: as `reqwest` sends them, with an ear for what a tier says beside its answer.
//!
//! Knows nothing of keys. `object_store` tries again by itself and does not look at `Retry-After`: who is busy and asks for
//! a second would be asked again after a tenth of one.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::fmt::rfc2822::DateTimeParser;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

use crate::tier::Trouble;

/// By how much more than it was asked for a request waits at most, so that all who were sent away do not come back at once.
const JITTER: f64 = 0.25;

/// A tier's time when it answered last, in seconds since 1970; 0 as long as it did not say.
pub(super) type Told = Arc<AtomicI64>;

/// Makes clients that wait as long as a tier asks for, if that is no longer than `wait`, and keep its time.
#[derive(Clone, Debug)]
pub(super) struct Attentive {
    pub(super) wait: Duration,
    pub(super) told: Told,
}

/// Such a client.
#[derive(Debug)]
struct Client {
    inner: HttpClient,
    manner: Attentive,
}

impl HttpConnector for Attentive {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        let manner = self.clone();
        Ok(HttpClient::new(Client { inner, manner }))
    }
}

impl HttpService for Client {
    // As `#[async_trait]` would write it.
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> BoxFuture<'b, Result<HttpResponse, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let response = self.inner.execute(request).await?;
            let header = |name: &str| response.headers().get(name)?.to_str().ok();
            let number = |name: &str| header(name)?.trim().parse::<u32>().ok();
            let parse = |text: &str| DateTimeParser::new().parse_timestamp(text).ok();
            if let Some(date) = header("date").and_then(parse) {
                // A cache between hands out old dates, and says how old.
                let age = number("age").unwrap_or_default();
                let told = date.as_second() + i64::from(age);
                self.manner.told.store(told, Ordering::Relaxed);
            }
            if response.status().as_u16() == 416 {
                // The file ends before what was asked for: it was cut. The tier is well.
                return Err(HttpError::new(HttpErrorKind::Unknown, Trouble::Absent));
            }
            let busy = matches!(response.status().as_u16(), 429 | 503);
            if let Some(seconds) = number("retry-after").filter(|_| busy) {
                let pause = Duration::from_secs(seconds.into()).mul_f64(1.0 + JITTER * random());
                if pause > self.manner.wait {
                    // Of this kind nothing is tried again.
                    let busy = Trouble::Busy(seconds);
                    return Err(HttpError::new(HttpErrorKind::Unknown, busy));
                }
                tokio::time::sleep(pause).await;
            }
            Ok(response)
        })
    }
}

/// Returns a number from 0 to 1, another each time.
fn random() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
