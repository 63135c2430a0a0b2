// Stands in the place of the theme's script of this name, half a megabyte that draws each icon as SVG. Without
// it the icons come from the theme's fonts, which every page loads in any case.
