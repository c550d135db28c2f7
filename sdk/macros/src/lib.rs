//! The attribute and derive macros of `bellwether-sdk`, where they are documented.

mod app;
mod attributes;
mod choice;
mod detector;
mod dialect;
mod fields;
mod forecaster;
mod formatter;
mod limits;
mod stand_in;

use proc_macro::TokenStream;
use quote::quote;
use syn::{ItemFn, parse_macro_input};

/// What a role's function becomes, or the error beside the function, which the author's tests call all the same.
fn or_refused(expanded: syn::Result<proc_macro2::TokenStream>, function: &ItemFn) -> TokenStream {
    let refused = |error: syn::Error| {
        let error = error.into_compile_error();
        quote!(#error #function)
    };
    expanded.unwrap_or_else(refused).into()
}

/// Makes the component an app that runs this function. See `bellwether_sdk::app`.
#[proc_macro_attribute]
pub fn app(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let (arguments, function) = (parse_macro_input!(arguments), parse_macro_input!(function));
    or_refused(app::expand(&arguments, &function), &function)
}

/// Makes the component a dialect with the routes this function returns. See `bellwether_sdk::dialect`.
#[proc_macro_attribute]
pub fn dialect(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let (arguments, function) = (parse_macro_input!(arguments), parse_macro_input!(function));
    or_refused(dialect::expand(&arguments, &function), &function)
}

/// Makes the component a formatter that takes its steps by this function. See `bellwether_sdk::formatter`.
#[proc_macro_attribute]
pub fn formatter(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let (arguments, function) = (parse_macro_input!(arguments), parse_macro_input!(function));
    or_refused(formatter::expand(&arguments, &function), &function)
}

/// Makes the component a detector that judges by this function. See `bellwether_sdk::detector`.
#[proc_macro_attribute]
pub fn detector(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let (arguments, function) = (parse_macro_input!(arguments), parse_macro_input!(function));
    or_refused(detector::expand(&arguments, &function), &function)
}

/// Makes the component a forecaster that predicts by this function. See `bellwether_sdk::forecaster`.
#[proc_macro_attribute]
pub fn forecaster(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let (arguments, function) = (parse_macro_input!(arguments), parse_macro_input!(function));
    or_refused(forecaster::expand(&arguments, &function), &function)
}

/// Reads a struct from an app's inputs. See `bellwether_sdk::Inputs`.
#[proc_macro_derive(Inputs, attributes(input))]
pub fn inputs(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item);
    fields::inputs(&item).unwrap_or_else(|error| stand_in::inputs(&item, &error)).into()
}

/// Reads a struct from a role's settings. See `bellwether_sdk::Settings`.
#[proc_macro_derive(Settings, attributes(setting, settings))]
pub fn settings(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item);
    fields::settings(&item).unwrap_or_else(|error| stand_in::settings(&item, &error)).into()
}

/// Makes an app's outputs from a struct. See `bellwether_sdk::Outputs`.
#[proc_macro_derive(Outputs, attributes(output))]
pub fn outputs(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item);
    fields::outputs(&item).unwrap_or_else(|error| stand_in::outputs(&item, &error)).into()
}

/// Makes an enum a fixed set of texts. See `bellwether_sdk::Choice`.
#[proc_macro_derive(Choice, attributes(choice))]
pub fn choice(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item);
    choice::expand(&item).unwrap_or_else(|error| stand_in::choice(&item, &error)).into()
}
