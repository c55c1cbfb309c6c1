//! Colours. The six of the groups are told apart by people who see red and green alike, and by
//! their lightness where there is no colour at all (after Okabe and Ito, 2008).

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

/// A colour and how much it covers, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paint {
    pub rgb: Rgb,
    pub alpha: f64,
}

impl Rgb {
    pub const fn solid(self) -> Paint {
        Paint { rgb: self, alpha: 1.0 }
    }

    pub const fn thin(self, alpha: f64) -> Paint {
        Paint { rgb: self, alpha }
    }
}

/// Of the groups, the largest first.
pub const GROUPS: [Rgb; 6] = [
    Rgb(0x1f, 0x77, 0xb4),
    Rgb(0xe6, 0x9f, 0x00),
    Rgb(0x00, 0x9e, 0x73),
    Rgb(0x7f, 0xc4, 0xee),
    Rgb(0xc4, 0x4e, 0x00),
    Rgb(0xcc, 0x79, 0xa7),
];
/// Of what is left when the groups have theirs.
pub const REST: Rgb = Rgb(0xb4, 0xba, 0xc2);

/// Behind the means of groups, from the least to the greatest value of all.
pub const BAND: Rgb = Rgb(0x5c, 0x7f, 0xa8);

pub const BACKGROUND: Rgb = Rgb(0xff, 0xff, 0xff);
pub const TITLE: Rgb = Rgb(0x1c, 0x23, 0x2b);
pub const TEXT: Rgb = Rgb(0x3d, 0x46, 0x50);
pub const MUTED: Rgb = Rgb(0x66, 0x70, 0x7c);
pub const GRID: Rgb = Rgb(0xe4, 0xe7, 0xeb);
pub const AXIS: Rgb = Rgb(0x8c, 0x95, 0xa0);
/// Behind hours that have no object.
pub const SHADE: Rgb = Rgb(0xee, 0xf0, 0xf3);
pub const SHADE_EDGE: Rgb = Rgb(0xc9, 0xce, 0xd5);
/// Where the clock jumps.
pub const JUMP: Rgb = Rgb(0x8a, 0x4f, 0x9e);
pub const FINAL: Rgb = Rgb(0x00, 0x7a, 0x5a);
pub const PROVISIONAL: Rgb = Rgb(0xb3, 0x5a, 0x00);

/// The colour of a group by its place.
pub fn group(place: usize, is_rest: bool) -> Rgb {
    if is_rest { REST } else { GROUPS[place % GROUPS.len()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(Rgb(r, g, b): Rgb) -> f64 {
        let linear = |v: u8| {
            let v = f64::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    }

    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_can_be_read_on_the_background() {
        for rgb in [TITLE, TEXT, MUTED, FINAL, PROVISIONAL, JUMP] {
            assert!(contrast(rgb, BACKGROUND) >= 4.5, "{rgb:?}");
        }
    }

    #[test]
    fn neighbours_in_the_stack_differ_in_lightness() {
        let stack: Vec<Rgb> = GROUPS.into_iter().chain([REST]).collect();
        for pair in stack.windows(2) {
            assert!(contrast(pair[0], pair[1]) >= 1.4, "{pair:?}");
        }
    }
}
