"""Ufuncs of `scipy.special` that have no derivative here, and why. By single arguments: `fad.primitives.special.UNKNOWN`."""

__all__ = ["REFUSED"]

_PARAMETER = "its derivatives by the parameters of a distribution that is a series over others have no closed form"
_EIGENVALUE = "characteristic values and their functions have no derivative in closed form"
_REASONS = {
    _PARAMETER: ("nctdtr nctdtrit nctdtridf nctdtrinc ncfdtr ncfdtri ncfdtridfn ncfdtridfd ncfdtrinc chndtridf",),
    _EIGENVALUE: (
        "mathieu_a mathieu_b mathieu_cem mathieu_sem mathieu_modcem1 mathieu_modcem2 mathieu_modsem1 mathieu_modsem2",
        "pro_cv obl_cv pro_ang1 pro_ang1_cv obl_ang1 obl_ang1_cv pro_rad1 pro_rad1_cv obl_rad1 obl_rad1_cv",
        "pro_rad2 pro_rad2_cv obl_rad2 obl_rad2_cv",
    ),
    "a sum whose number of terms jumps with the argument": ("smirnov smirnovi",),
    "the integral of a Bessel function by its parameters has no closed form": ("besselpoly",),
    "complex results of a real argument, with no rule written": ("modfresnelp modfresnelm",),
    "degrees, minutes and seconds are counts": ("radian",),
}
REFUSED = {name: reason for reason, lines in _REASONS.items() for line in lines for name in line.split()}
