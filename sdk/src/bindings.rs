//! What the contract in `wit/` becomes in Rust: the imports once, and one module per role that exports it.
//!
//! The imports are a world of their own and each role maps the host's interfaces to it, so that a component exports
//! the roles its author named and imports the functions its author called.

/// The host's interfaces.
pub mod imports {
    wit_bindgen::generate!({
        path: "../wit",
        world: "imports",
        generate_all,
        generate_unused_types: true,
        additional_derives: [Clone, PartialEq],
        type_section_suffix: "sdk",
    });
}

/// The role `app`.
pub mod app {
    wit_bindgen::generate!({
        path: "../wit",
        world: "app-plugin",
        with: {
            "bellwether:host/types@0.1.0": super::imports::bellwether::host::types,
            "bellwether:host/log@0.1.0": super::imports::bellwether::host::log,
            "bellwether:host/clock@0.1.0": super::imports::bellwether::host::clock,
            "bellwether:host/random@0.1.0": super::imports::bellwether::host::random,
            "bellwether:host/metrics-types@0.1.0": super::imports::bellwether::host::metrics_types,
            "bellwether:host/metrics-read@0.1.0": super::imports::bellwether::host::metrics_read,
            "bellwether:host/metrics-write@0.1.0": super::imports::bellwether::host::metrics_write,
            "bellwether:host/series-types@0.1.0": super::imports::bellwether::host::series_types,
            "bellwether:host/series-read@0.1.0": super::imports::bellwether::host::series_read,
            "bellwether:host/series-write@0.1.0": super::imports::bellwether::host::series_write,
            "bellwether:host/records-types@0.1.0": super::imports::bellwether::host::records_types,
            "bellwether:host/records-read@0.1.0": super::imports::bellwether::host::records_read,
            "bellwether:host/records-write@0.1.0": super::imports::bellwether::host::records_write,
            "bellwether:host/alerts-types@0.1.0": super::imports::bellwether::host::alerts_types,
            "bellwether:host/alerts-read@0.1.0": super::imports::bellwether::host::alerts_read,
            "bellwether:host/alerts-write@0.1.0": super::imports::bellwether::host::alerts_write,
            "bellwether:host/state@0.1.0": super::imports::bellwether::host::state,
            "bellwether:host/http-client@0.1.0": super::imports::bellwether::host::http_client,
        },
        additional_derives: [Clone, PartialEq],
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "bellwether_sdk::bindings::app",
        runtime_path: "bellwether_sdk::bindings::runtime",
    });
}

/// The role `dialect`, in its fuller form.
pub mod dialect {
    wit_bindgen::generate!({
        path: "../wit",
        world: "configurable-dialect-plugin",
        with: {
            "bellwether:host/types@0.1.0": super::imports::bellwether::host::types,
            "bellwether:host/log@0.1.0": super::imports::bellwether::host::log,
            "bellwether:host/clock@0.1.0": super::imports::bellwether::host::clock,
            "bellwether:host/random@0.1.0": super::imports::bellwether::host::random,
            "bellwether:host/metrics-types@0.1.0": super::imports::bellwether::host::metrics_types,
            "bellwether:host/metrics-read@0.1.0": super::imports::bellwether::host::metrics_read,
            "bellwether:host/metrics-write@0.1.0": super::imports::bellwether::host::metrics_write,
            "bellwether:host/series-types@0.1.0": super::imports::bellwether::host::series_types,
            "bellwether:host/series-read@0.1.0": super::imports::bellwether::host::series_read,
            "bellwether:host/series-write@0.1.0": super::imports::bellwether::host::series_write,
            "bellwether:host/records-types@0.1.0": super::imports::bellwether::host::records_types,
            "bellwether:host/records-read@0.1.0": super::imports::bellwether::host::records_read,
            "bellwether:host/records-write@0.1.0": super::imports::bellwether::host::records_write,
            "bellwether:host/alerts-types@0.1.0": super::imports::bellwether::host::alerts_types,
            "bellwether:host/alerts-read@0.1.0": super::imports::bellwether::host::alerts_read,
            "bellwether:host/alerts-write@0.1.0": super::imports::bellwether::host::alerts_write,
            "bellwether:host/state@0.1.0": super::imports::bellwether::host::state,
            "bellwether:host/http-client@0.1.0": super::imports::bellwether::host::http_client,
        },
        additional_derives: [Clone, PartialEq],
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "bellwether_sdk::bindings::dialect",
        runtime_path: "bellwether_sdk::bindings::runtime",
    });
}

/// The role `formatter`, which imports nothing but types.
pub mod formatter {
    wit_bindgen::generate!({
        path: "../wit",
        world: "formatter-plugin",
        with: {
            "bellwether:host/types@0.1.0": super::imports::bellwether::host::types,
        },
        additional_derives: [Clone, PartialEq],
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "bellwether_sdk::bindings::formatter",
        runtime_path: "bellwether_sdk::bindings::runtime",
    });
}

/// The role `detector`, which imports nothing but types.
pub mod detector {
    wit_bindgen::generate!({
        path: "../wit",
        world: "detector-plugin",
        with: {
            "bellwether:host/types@0.1.0": super::imports::bellwether::host::types,
        },
        additional_derives: [Clone, PartialEq],
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "bellwether_sdk::bindings::detector",
        runtime_path: "bellwether_sdk::bindings::runtime",
    });
}

/// The role `forecaster`, which imports nothing but types.
pub mod forecaster {
    wit_bindgen::generate!({
        path: "../wit",
        world: "forecaster-plugin",
        with: {
            "bellwether:host/types@0.1.0": super::imports::bellwether::host::types,
        },
        additional_derives: [Clone, PartialEq],
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "bellwether_sdk::bindings::forecaster",
        runtime_path: "bellwether_sdk::bindings::runtime",
    });
}

/// What the generated code calls.
pub mod runtime {
    pub use wit_bindgen::rt::*;

    /// Every export's code begins with this. It stands before the generator's own.
    #[cfg(target_arch = "wasm32")]
    pub fn run_ctors_once() {
        wit_bindgen::rt::run_ctors_once();
        crate::last_words::keep();
    }
}
