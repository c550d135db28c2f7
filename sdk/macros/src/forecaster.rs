//! `#[forecaster]`: a function becomes the component's export `bellwether:plugin/forecaster`.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned;
use syn::{Error, ItemFn, Result, Type};

use crate::attributes::{SeriesArguments, no_secret, one_of, plain_function, shape};

const SHAPE: &str =
    "a forecaster is `fn name(settings: &Settings, past: &Past) -> Result<Forecast, ForecastError>`";

pub(crate) fn expand(arguments: &SeriesArguments, function: &ItemFn) -> Result<TokenStream> {
    plain_function(function, "a forecaster")?;
    let summary = arguments.role.summary_of(function)?;
    let name = &function.sig.ident;
    if let Some(word) = &arguments.aligned {
        return Err(Error::new(word.span(), "a forecaster looks at one series"));
    }
    if let Some(layout) = &arguments.layout {
        return Err(Error::new(layout.span(), "a forecaster keeps no state that has a layout"));
    }
    let ([settings, _], _) = shape::<2>(function, SHAPE)?;
    let Type::Reference(settings) = settings else {
        return Err(Error::new_spanned(settings, SHAPE));
    };
    let settings = &settings.elem;
    let SeriesArguments { least, best, .. } = arguments;
    let site = Span::mixed_site();
    // What is wrong with the settings' type is told there.
    let takes = quote_spanned! {settings.span()=>
        ::bellwether_sdk::forecaster::expanded::describe::<#settings>
    };
    let predicts = quote_spanned! {settings.span()=>
        ::bellwether_sdk::forecaster::expanded::predict::<#settings>
    };
    let one = one_of("forecaster", function);
    let no_secret = no_secret("forecaster", settings);
    Ok(quote_spanned! {site=>
        #function
        #one
        #no_secret

        const _: () = {
            use ::bellwether_sdk::bindings::forecaster::exports::bellwether::plugin::forecaster as __contract;

            struct __BellwetherForecaster;

            impl __contract::Guest for __BellwetherForecaster {
                fn describe() -> __contract::Description {
                    #takes(#name, #summary, #least, #best)
                }

                fn predict(
                    settings: ::std::vec::Vec<::bellwether_sdk::NamedValue>,
                    past: __contract::Past,
                ) -> ::std::result::Result<__contract::Forecast, __contract::ForecastError> {
                    #predicts(#name, #least, settings, past)
                }
            }

            #[cfg(target_arch = "wasm32")]
            #[allow(unsafe_code, reason = "what a component exports are functions over its raw memory")]
            const _: () = {
                ::bellwether_sdk::bindings::forecaster::export!(
                    __BellwetherForecaster with_types_in ::bellwether_sdk::bindings::forecaster
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
                fn predict(past: &Past) -> Result<Forecast, ForecastError> {
                    Err(ForecastError::TooShort(1))
                }
            ),
            parse_quote!(
                /** Summary. */
                fn predict(settings: (), past: &Past) -> Result<Forecast, ForecastError> {
                    Err(ForecastError::TooShort(1))
                }
            ),
        ];
        for case in &cases {
            let message = expand(&parse_quote!(least = 1, best = 1), case).expect_err("no forecaster");
            assert_eq!(message.to_string(), SHAPE);
        }
        let right: ItemFn = parse_quote!(
            /** Summary. */
            fn predict(settings: &(), past: &Past) -> Result<Forecast, ForecastError> {
                Err(ForecastError::TooShort(1))
            }
        );
        for (arguments, expected) in [
            (parse_quote!(aligned, least = 1, best = 1), "looks at one series"),
            (parse_quote!(layout = 2, least = 1, best = 1), "keeps no state"),
        ] {
            let message = expand(&arguments, &right).expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
