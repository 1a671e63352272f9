//! The pages for browsers: the page that judges, and the viewer of the OpenAPI document. All files are in the
//! binary.

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};

use crate::{hexadecimal::hexadecimal, service::state::AppState};

/// A file in the binary and its URL path.
struct Asset {
    path: &'static str,
    kind: Kind,
    bytes: &'static [u8],
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A page of our own, which never turns text into markup.
    Page,
    /// The page of the OpenAPI viewer, which turns the document's Markdown into markup.
    Reader,
    Script,
    Style,
    Png,
    Svg,
    /// A script of the viewer, stored with gzip because it is large; every browser unpacks it.
    PackedScript,
    /// A style sheet of the viewer, stored with gzip.
    PackedStyle,
}

macro_rules! asset {
    ($path:literal, $kind:ident, $file:literal) => {
        Asset {
            path: $path,
            kind: Kind::$kind,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $file)),
        }
    };
}

static ASSETS: [Asset; 13] = [
    asset!("/", Page, "page/index.html"),
    asset!("/page/page.css", Style, "page/page.css"),
    asset!("/page/page.js", Script, "page/page.js"),
    asset!("/page/ask.js", Script, "page/ask.js"),
    asset!("/page/draw.js", Script, "page/draw.js"),
    asset!("/page/images.js", Script, "page/images.js"),
    asset!("/page/program.js", Script, "page/program.js"),
    asset!("/page/icon.svg", Svg, "page/icon.svg"),
    asset!("/page/scene.png", Png, "page/scene.png"),
    asset!("/docs", Reader, "docs/index.html"),
    asset!("/docs/docs.js", Script, "docs/docs.js"),
    asset!("/docs/swagger-ui-bundle.js", PackedScript, "docs/swagger-ui-bundle.js.gz"),
    asset!("/docs/swagger-ui.css", PackedStyle, "docs/swagger-ui.css.gz"),
];

/// The content security policy of pages: they load from and connect to this server only, without inline scripts or
/// styles.
macro_rules! policy {
    ($more:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; ",
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            $more
        )
    };
}

impl Kind {
    fn media_type(self) -> &'static str {
        match self {
            Self::Page | Self::Reader => "text/html; charset=utf-8",
            Self::Script | Self::PackedScript => "text/javascript; charset=utf-8",
            Self::Style | Self::PackedStyle => "text/css; charset=utf-8",
            Self::Png => "image/png",
            Self::Svg => "image/svg+xml",
        }
    }

    fn policy(self) -> Option<&'static str> {
        match self {
            // With this, the browser itself refuses to turn text into markup.
            Self::Page => Some(policy!("; require-trusted-types-for 'script'")),
            Self::Reader => Some(policy!("")),
            Self::Script | Self::Style | Self::Png | Self::Svg | Self::PackedScript | Self::PackedStyle => {
                None
            }
        }
    }

    fn is_packed(self) -> bool {
        matches!(self, Self::PackedScript | Self::PackedStyle)
    }
}

/// The routes of all files. They do not need the critic, so they work whenever the server runs.
pub(crate) fn routes() -> Router<AppState> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        let headers = asset.headers();
        router.route(
            asset.path,
            get(move |asked: HeaderMap| async move { answer(&asked, headers, asset.bytes) }),
        )
    })
}

impl Asset {
    fn headers(&self) -> HeaderMap {
        let tag = hexadecimal(&Sha256::digest(self.bytes)[..16]);
        let tag =
            HeaderValue::try_from(format!("\"{tag}\"")).expect("hexadecimal digits are a header's value");
        let fixed = HeaderValue::from_static;
        let mut headers = HeaderMap::from_iter([
            (header::CONTENT_TYPE, fixed(self.kind.media_type())),
            (header::ETAG, tag),
            // Other versions of the server have other files at the same paths, so browsers must revalidate each
            // time.
            (header::CACHE_CONTROL, fixed("no-cache")),
            (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            (header::REFERRER_POLICY, fixed("no-referrer")),
        ]);
        if self.kind.is_packed() {
            headers.insert(header::CONTENT_ENCODING, fixed("gzip"));
        }
        if let Some(policy) = self.kind.policy() {
            headers.insert(header::CONTENT_SECURITY_POLICY, fixed(policy));
        }
        headers
    }
}

/// Returns the file, or 304 if the client's cached copy is current.
fn answer(asked: &HeaderMap, headers: HeaderMap, bytes: &'static [u8]) -> Response {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    // A compressing proxy marks the tag as weak.
    let same = |tag: &str| headers[header::ETAG] == tag.trim().trim_start_matches("W/");
    if known.split(',').any(same) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, bytes).into_response()
}
