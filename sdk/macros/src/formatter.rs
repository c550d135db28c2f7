//! `#[formatter]`: a function becomes the component's export `bellwether:plugin/formatter`.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned;
use syn::{ItemFn, Result};

use crate::attributes::{RoleArguments, one_of, plain_function, shape};

const SHAPE: &str =
    "a formatter is `fn name(exchange: &Exchange, settings: Settings) -> Result<Step, FormatterError>`";

pub(crate) fn expand(arguments: &RoleArguments, function: &ItemFn) -> Result<TokenStream> {
    plain_function(function, "a formatter")?;
    let summary = arguments.summary_of(function)?;
    let name = &function.sig.ident;
    let ([_, settings], _) = shape::<2>(function, SHAPE)?;
    let site = Span::mixed_site();
    // What is wrong with the settings' type is told there.
    let takes = quote_spanned! {settings.span()=>
        ::bellwether_sdk::formatter::expanded::describe::<#settings>
    };
    let steps = quote_spanned! {settings.span()=>
        ::bellwether_sdk::formatter::expanded::next::<#settings>
    };
    let one = one_of("formatter", function);
    Ok(quote_spanned! {site=>
        #function
        #one

        const _: () = {
            use ::bellwether_sdk::bindings::formatter::exports::bellwether::plugin::formatter as __contract;

            struct __BellwetherFormatter;

            impl __contract::Guest for __BellwetherFormatter {
                fn describe() -> __contract::Description {
                    #takes(#name, #summary)
                }

                fn next(
                    notification: __contract::Notification,
                    settings: ::std::vec::Vec<::bellwether_sdk::NamedValue>,
                    memory: ::std::vec::Vec<u8>,
                    last: ::std::option::Option<__contract::Answer>,
                ) -> ::std::result::Result<__contract::Step, __contract::FormatterError> {
                    #steps(#name, notification, settings, memory, last)
                }
            }

            #[cfg(target_arch = "wasm32")]
            #[allow(unsafe_code, reason = "what a component exports are functions over its raw memory")]
            const _: () = {
                ::bellwether_sdk::bindings::formatter::export!(
                    __BellwetherFormatter with_types_in ::bellwether_sdk::bindings::formatter
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
        let cases: [ItemFn; 3] = [
            parse_quote!(
                /** Summary. */
                fn next(exchange: &Exchange) -> Result<Step, FormatterError> {
                    Ok(Step::done())
                }
            ),
            parse_quote!(
                /** Summary. */
                fn next(exchange: &Exchange, settings: ()) {}
            ),
            parse_quote!(
                /** Summary. */
                fn next(self, settings: ()) -> Result<Step, FormatterError> {
                    Ok(Step::done())
                }
            ),
        ];
        for case in &cases {
            assert_eq!(expand(&parse_quote!(), case).expect_err("no formatter").to_string(), SHAPE);
        }
    }
}
