"""Transformations: Python functions go in, trees and the derivatives and batches of trees come out."""
