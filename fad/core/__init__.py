"""Trees: Python operations on nodes go in, immutable expression trees and closed functions of them come out."""
