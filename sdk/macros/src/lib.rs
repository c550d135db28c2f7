//! The attribute and derive macros of `bellwether-sdk`, where they are documented.

mod app;
mod attributes;
mod choice;
mod dialect;
mod fields;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Makes the component an app that runs this function. See `bellwether_sdk::app`.
#[proc_macro_attribute]
pub fn app(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let (arguments, function) = (parse_macro_input!(arguments), parse_macro_input!(function));
    app::expand(&arguments, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes the component a dialect with the routes this function returns. See `bellwether_sdk::dialect`.
#[proc_macro_attribute]
pub fn dialect(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let (arguments, function) = (parse_macro_input!(arguments), parse_macro_input!(function));
    dialect::expand(&arguments, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Reads a struct from an app's inputs. See `bellwether_sdk::Inputs`.
#[proc_macro_derive(Inputs, attributes(input))]
pub fn inputs(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item);
    fields::inputs(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an app's outputs from a struct. See `bellwether_sdk::Outputs`.
#[proc_macro_derive(Outputs, attributes(output))]
pub fn outputs(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item);
    fields::outputs(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an enum a fixed set of texts. See `bellwether_sdk::Choice`.
#[proc_macro_derive(Choice, attributes(choice))]
pub fn choice(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item);
    choice::expand(&item).unwrap_or_else(syn::Error::into_compile_error).into()
}
