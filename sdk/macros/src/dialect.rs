//! `#[dialect]`: a function that returns routes becomes the component's export
//! `bellwether:plugin/configurable-dialect`.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned;
use syn::{Error, ItemFn, Result, ReturnType};

use crate::attributes::{RoleArguments, one_of, plain_function};

const SHAPE: &str =
    "a dialect is `fn name<H: MetricsRead + …>() -> Router<H>`, `H` bounded by what its handlers use";

pub(crate) fn expand(arguments: &RoleArguments, function: &ItemFn) -> Result<TokenStream> {
    plain_function(function, "a dialect")?;
    let summary = arguments.summary_of(function)?;
    let name = &function.sig.ident;
    let ReturnType::Type(_, router) = &function.sig.output else {
        return Err(Error::new(name.span(), SHAPE));
    };
    if !function.sig.inputs.is_empty() {
        return Err(Error::new_spanned(&function.sig.inputs, SHAPE));
    }
    let site = Span::mixed_site();
    // An instance has one thread, so this is built once for each.
    let routes = quote_spanned! {router.span()=>
        ::std::thread_local! {
            static ROUTER: ::bellwether_sdk::dialect::Router<::bellwether_sdk::host::Live> = #name();
        }
    };
    let one = one_of("dialect", function);
    Ok(quote_spanned! {site=>
        #function
        #one

        const _: () = {
            use ::bellwether_sdk::bindings::dialect::exports::bellwether::plugin::configurable_dialect as __contract;

            #routes

            struct __BellwetherDialect;

            impl __contract::Guest for __BellwetherDialect {
                fn describe() -> __contract::Description {
                    ROUTER.with(|router| router.describe(#summary))
                }

                fn check(
                    settings: ::std::vec::Vec<::bellwether_sdk::NamedValue>,
                ) -> ::std::option::Option<__contract::FieldError> {
                    ROUTER.with(|router| router.check(settings))
                }

                fn handle(
                    settings: ::std::vec::Vec<::bellwether_sdk::NamedValue>,
                    caller: ::std::option::Option<
                        ::std::result::Result<__contract::Principal, __contract::AuthFailure>,
                    >,
                    request: __contract::Request,
                ) -> __contract::Response {
                    ROUTER.with(|router| {
                        router.handle(&::bellwether_sdk::host::Live, &settings, caller, &request)
                    })
                }
            }

            #[cfg(target_arch = "wasm32")]
            #[allow(unsafe_code, reason = "what a component exports are functions over its raw memory")]
            const _: () = {
                ::bellwether_sdk::bindings::dialect::export!(
                    __BellwetherDialect with_types_in ::bellwether_sdk::bindings::dialect
                );
            };
        };
    })
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_function_of_another_shape_is_told_the_right_one() {
        let cases: [ItemFn; 2] = [
            parse_quote!(
                /** Summary. */
                fn routes() {}
            ),
            parse_quote!(
                /** Summary. */
                fn routes<H>(host: &H) -> Router<H> {
                    Router::new()
                }
            ),
        ];
        for case in &cases {
            assert_eq!(expand(&parse_quote!(), case).expect_err("no dialect").to_string(), SHAPE);
        }
        let silent: ItemFn = parse_quote!(
            fn routes<H>() -> Router<H> {
                Router::new()
            }
        );
        assert!(
            expand(&parse_quote!(), &silent).expect_err("no summary").to_string().contains("doc comment")
        );
    }
}
